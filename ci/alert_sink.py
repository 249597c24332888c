#!/usr/bin/env python3
"""Serves a webhook for Alertmanager: prints its port, then one line of JSON per received alert.

A line has the receiver (the path of the request) and the status, labels and annotations of the alert.
"""

import http.server
import json


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in payload["alerts"]:
            entry = {"receiver": self.path.strip("/"), **{k: alert[k] for k in ("status", "labels", "annotations")}}
            print(json.dumps(entry, ensure_ascii=False), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
print(server.server_port, flush=True)
server.serve_forever()
