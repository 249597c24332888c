#!/usr/bin/env python3
"""Compares the totals of the boards with those of the metrics page that Prometheus scrapes.

usage: board_totals.py PROMETHEUS_URL

The expected totals come from the metrics of the page, without recording rules.
"""

import json
import sys
import urllib.parse
import urllib.request

from board_queries import PURCHASE, board_query

ORDERS = f'action_type="{PURCHASE}"'
SPEND = 'sum by ({by}) (marketing_messages_spend{{window="today"}})'
REVENUE = f'sum by ({{by}}) (marketing_messages_conversion_value{{{{window="today", {ORDERS}}}}})'
PURCHASES = f'sum by ({{by}}) (marketing_messages_conversions{{{{window="today", {ORDERS}}}}})'
# Board, start of the title of the panel, reference of the query, expected total, labels of the total.
TOTALS = [
    ("clients", "Clients, worst first", "C", SPEND, "business, currency"),
    ("clients", "Clients, worst first", "D", REVENUE, "business, currency"),
    ("overview", "Totals by currency ·", "A", SPEND, "currency"),
    ("overview", "Totals by currency ·", "C", REVENUE, "currency"),
    ("overview", "Orders ·", "A", PURCHASES, ""),
    ("campaigns", "All campaigns", "B", SPEND, "business, account_id, campaign_id"),
    ("campaigns", "All campaigns", "E", REVENUE, "business, account_id, campaign_id"),
    ("campaigns", "All campaigns", "H", PURCHASES, "business, account_id, campaign_id"),
]


def query(prometheus, expression):
    """Returns the values by the sorted words of their label values: boards join labels to one, in any order."""
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{parameters}") as response:
        rows = json.load(response)["data"]["result"]
    return {" ".join(sorted(" ".join(row["metric"].values()).split())): float(row["value"][1]) for row in rows}


def main():
    prometheus = sys.argv[1].rstrip("/")
    failed = False
    businesses = query(prometheus, "group by (business) (marketing_messages_up)")
    rows = query(prometheus, f"group by (business) ({board_query('clients', 'Clients, worst first', 'A')})")
    if set(rows) != set(businesses):
        failed = True
        print(f"FAIL clients: {len(rows)} of {len(businesses)} businesses")
    for board, title, ref_id, expected, labels in TOTALS:
        wanted = query(prometheus, expected.format(by=labels))
        found = query(prometheus, board_query(board, title, ref_id))
        wrong = {
            key: (wanted.get(key), found.get(key))
            for key in wanted.keys() | found.keys()
            if abs(wanted.get(key, 0) - found.get(key, 0)) > 1e-6 * abs(wanted.get(key, 0)) + 1e-9
        }
        failed |= bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} {board}, {title} {ref_id}: {len(wanted)} totals {wrong or ''}")
    sys.exit(failed)


main()
