#!/usr/bin/env python3
"""Compares the totals of the boards with those of the metrics page that Prometheus scrapes.

usage: board_totals.py PROMETHEUS_URL

The expected totals come from the metrics of the page, without recording rules.

A value that changed since the last evaluation of the recording rules differs from their result until the next one.
Therefore a comparison with differences is repeated, as a whole; values that are wrong stay different.
"""

import json
import sys
import time
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
# One per second. Values of the demo change every few seconds, so that most attempts fall between two changes.
ATTEMPTS = 30


def query(prometheus, expression, at):
    """Returns the values at the time `at` by the sorted words of their label values: boards join labels to one, in any
    order."""
    parameters = urllib.parse.urlencode({"query": expression, "time": at})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{parameters}") as response:
        rows = json.load(response)["data"]["result"]
    return {" ".join(sorted(" ".join(row["metric"].values()).split())): float(row["value"][1]) for row in rows}


def differences(prometheus, at):
    """Compares all totals at the time `at`. Returns a line for each comparison and the number of differing ones."""
    lines = []
    failures = 0
    businesses = query(prometheus, "group by (business) (marketing_messages_up)", at)
    rows = query(prometheus, f"group by (business) ({board_query('clients', 'Clients, worst first', 'A')})", at)
    if set(rows) != set(businesses):
        failures += 1
        lines.append(f"FAIL clients: {len(rows)} of {len(businesses)} businesses")
    for board, title, ref_id, expected, labels in TOTALS:
        wanted = query(prometheus, expected.format(by=labels), at)
        found = query(prometheus, board_query(board, title, ref_id), at)
        wrong = {
            key: (wanted.get(key), found.get(key))
            for key in wanted.keys() | found.keys()
            if abs(wanted.get(key, 0) - found.get(key, 0)) > 1e-6 * abs(wanted.get(key, 0)) + 1e-9
        }
        # Without a single total, nothing is compared.
        failed = bool(wrong) or not wanted
        failures += failed
        lines.append(f"{'FAIL' if failed else 'ok  '} {board}, {title} {ref_id}: {len(wanted)} totals {wrong or ''}")
    return lines, failures


def main():
    prometheus = sys.argv[1].rstrip("/")
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(1)
        lines, failures = differences(prometheus, time.time())
        if not failures:
            break
    print("\n".join(lines))
    print(f"{attempt + 1} of at most {ATTEMPTS} attempts")
    sys.exit(bool(failures))


main()
