#!/usr/bin/env python3
"""Writes grafana/dashboards/*.json from grafana/boards/*.py; with --check says whether they differ.

Python's standard library is all it needs.
"""
import importlib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from boards.variables import PICKS  # noqa: E402

BOARDS = ["overview", "campaigns", "campaign", "days", "exporter"]


def picked(value):
    """Every text with {ROWS} and the like replaced by what they pick."""
    if isinstance(value, dict):
        return {k: picked(v) if k in ("expr", "targets", "panels", "annotations", "list") else v
                for k, v in value.items()}
    if isinstance(value, list):
        return [picked(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"\{(%s)(?=[,}])" % "|".join(PICKS), lambda m: "{" + PICKS[m[1]], value)
    return value


def main():
    check = sys.argv[1:] == ["--check"]
    differ = []
    for name in BOARDS:
        board = picked(importlib.import_module(f"boards.{name}").BOARD)
        text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        path = HERE / "dashboards" / f"{name}.json"
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                differ.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if differ:
        sys.exit(f"not what grafana/boards makes: {', '.join(differ)}; run grafana/generate.py")


main()
