#!/usr/bin/env python3
"""A webhook for Alertmanager: prints its port, then one line of JSON for each alert that it hears.

A line: the path that was posted to (the receiver), the alert's status, labels and annotations.
"""
import http.server
import json


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in told["alerts"]:
            heard = {"receiver": self.path.strip("/"), **{k: alert[k] for k in ("status", "labels", "annotations")}}
            print(json.dumps(heard, ensure_ascii=False), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
print(server.server_port, flush=True)
server.serve_forever()
