"""Queries of the dashboards, as the checks of the boards send them: with fixed values of the variables."""

import json
from pathlib import Path

BOARDS = Path(__file__).resolve().parent.parent / "grafana" / "dashboards"
PURCHASE = "offsite_conversion.fb_pixel_purchase"
VARIABLES = {
    "$__rate_interval": "5m",
    "$__interval": "1m",
    "$__range": "20m",
    "$job": "marketing-messages",
    "$business": ".+",
    "$currency": ".+",
    "$account": ".*",
    "$campaign": ".*",
    "$window": "today",
    "$min_spend": "0",
}


def board(name):
    return json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))


def substituted(expression, currency=None):
    for name, value in {**VARIABLES, **({"$currency": currency} if currency else {})}.items():
        expression = expression.replace(name, value)
    return expression


def board_query(name, title, ref_id, currency=None):
    """Query of the first panel with a title that starts with the given text."""
    panel = next(panel for panel in board(name)["panels"] if panel["title"].startswith(title))
    return substituted(next(target["expr"] for target in panel["targets"] if target["refId"] == ref_id), currency)


def all_queries():
    """Description and query of each query of each board."""
    for path in sorted(BOARDS.glob("*.json")):
        for panel in board(path.stem)["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}, {panel['title']}, {target['refId']}", substituted(target["expr"])
