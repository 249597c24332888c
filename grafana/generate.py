#!/usr/bin/env python3
"""Generates grafana/dashboards/*.json from grafana/boards/*.py.

usage: generate.py [--check]

With --check, writes nothing and exits with status 1 if a file is out of date. Needs only Python's
standard library.
"""

import importlib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from boards.variables import SELECTORS  # noqa: E402

# A placeholder is the first matcher of a selector, such as `{ROWS}` or `{ROWS, action_type="…"}`.
PLACEHOLDER = re.compile(r"\{(" + "|".join(SELECTORS) + r")(?=[,}])")
BOARDS = ["clients", "overview", "campaigns", "campaign", "days", "exporter"]


def expand_selectors(value):
    """Replaces the placeholders {ROWS}, {CAMPAIGNS}, {DAYS}, {SOURCES} and {ALERTS} in all queries."""
    if isinstance(value, dict):
        return {
            k: expand_selectors(v) if k in ("expr", "targets", "panels", "annotations", "list") else v
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [expand_selectors(v) for v in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: "{" + SELECTORS[match[1]], value)
    return value


def main():
    check = sys.argv[1:] == ["--check"]
    outdated = []
    for name in BOARDS:
        board = expand_selectors(importlib.import_module(f"boards.{name}").BOARD)
        text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        path = HERE / "dashboards" / f"{name}.json"
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                outdated.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if outdated:
        sys.exit(f"grafana/dashboards is out of date: {', '.join(outdated)}; run `python3 grafana/generate.py`")


main()
