"""Serves the campaign series of a metrics page with Python's prometheus_client.

Usage: python prometheus_client.py PAGE PORT
"""

import re
import sys
import threading

from prometheus_client import CollectorRegistry, Gauge, start_http_server

page, port = sys.argv[1], int(sys.argv[2])
registry, families = CollectorRegistry(), {}
for line in open(page, encoding="utf-8"):
    found = re.match(r"(marketing_messages_(?!exporter_)\w+)\{(.*)\} (\S+)$", line)
    if not found:
        continue
    name, labels, value = found.groups()
    labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    if name not in families:
        families[name] = Gauge(name, "Help", list(labels), registry=registry)
    families[name].labels(**labels).set(float(value))
start_http_server(port, addr="127.0.0.1", registry=registry)
print("listening", flush=True)
threading.Event().wait()
