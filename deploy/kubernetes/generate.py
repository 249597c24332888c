#!/usr/bin/env python3
"""Generates monitoring/prometheus-rule.yaml, a PrometheusRule resource, from prometheus/rules.yaml.

usage: generate.py [--check]

With --check, writes nothing and exits with status 1 if the file is out of date.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = HERE.parent.parent / "prometheus" / "rules.yaml"
OUTPUT = HERE / "monitoring" / "prometheus-rule.yaml"

HEADER = """\
# Generated from prometheus/rules.yaml by deploy/kubernetes/generate.py. Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: marketing-messages-exporter
  labels:
    app.kubernetes.io/name: marketing-messages-exporter
spec:
"""


def render():
    _, separator, groups = RULES.read_text(encoding="utf-8").partition("\ngroups:\n")
    if not separator:
        sys.exit(f"{RULES} has no groups")
    lines = [f"  {line}".rstrip() for line in f"groups:\n{groups}".splitlines()]
    return HEADER + "\n".join(lines) + "\n"


def main():
    text = render()
    if sys.argv[1:] != ["--check"]:
        OUTPUT.write_text(text, encoding="utf-8")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != text:
        path = OUTPUT.relative_to(HERE.parent.parent)
        sys.exit(f"{path} is out of date; run `python3 deploy/kubernetes/generate.py`")


main()
