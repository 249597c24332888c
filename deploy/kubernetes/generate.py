#!/usr/bin/env python3
"""Writes monitoring/prometheus-rule.yaml: prometheus/rules.yaml, in the form that Prometheus' operator takes.

usage: generate.py [--check]

With --check it writes nothing; exit status 1 says that the file is not what would be written.
"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = HERE.parent.parent / "prometheus" / "rules.yaml"
MADE = HERE / "monitoring" / "prometheus-rule.yaml"

HEAD = """\
# Made from prometheus/rules.yaml by deploy/kubernetes/generate.py: edit that, and run this.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: marketing-messages-exporter
  labels:
    app.kubernetes.io/name: marketing-messages-exporter
spec:
"""


def made():
    _, begin, groups = RULES.read_text(encoding="utf-8").partition("\ngroups:\n")
    if not begin:
        sys.exit(f"{RULES} has no groups")
    lines = [f"  {line}".rstrip() for line in f"groups:\n{groups}".splitlines()]
    return HEAD + "\n".join(lines) + "\n"


def main():
    text = made()
    if sys.argv[1:] != ["--check"]:
        MADE.write_text(text, encoding="utf-8")
    elif not MADE.exists() or MADE.read_text(encoding="utf-8") != text:
        sys.exit(f"{MADE.relative_to(HERE.parent.parent)} is not what generate.py makes of prometheus/rules.yaml")


main()
