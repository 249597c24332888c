#!/usr/bin/env python3
"""Checks the queries of the dashboards with data of different shapes: their totals must equal those of the metrics page.

usage: board_shapes.py [--promtool PATH] [SHAPE...]

Writes a unit test for promtool per shape, with a page, the recording rules and the queries of the boards. The expected totals
are added up from the page in Python. All other queries of the boards must be valid for each shape, so that no join fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from board_queries import PURCHASE, all_queries, board_query

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "prometheus" / "rules.yaml"
CHECKOUT = "offsite_conversion.fb_pixel_initiate_checkout"
MINUTES = 20
CURRENCIES = ("EUR", "USD", "JPY", "GBP", "CHF", "SEK", "PLN", "BRL", "KWD")
DAY_SECONDS = 86400


class Row:
    """One row of the page. Values are multiples of 1/4, so that sums are exact."""

    def __init__(self, number, business="acme", account="1", currency="EUR", campaign=True, conversions=True):
        self.business, self.account, self.currency, self.conversions = business, account, currency, conversions
        self.campaign = str(100 + number) if campaign else None
        self.spend, self.delivered, self.clicks = 64 + 8 * number, 4096 + 512 * number, 256 + 16 * number
        self.purchases, self.checkouts, self.value = 8 + number, 32 + 2 * number, 160 + 20 * number

    def labels(self, **more):
        ids = {"campaign_id": self.campaign, "campaign_name": f"Campaign {self.campaign}"} if self.campaign else {}
        return {"business": self.business, "account_id": self.account, **ids, "window": "today", **more}


def shapes():
    """Returns the rows of each shape, by its name."""
    return {
        "no-campaign": [],
        "one-campaign": [Row(0)],
        "16-campaigns": [Row(n) for n in range(16)],
        "200-campaigns": [Row(n, business=f"b{n % 7}", account=str(n % 7)) for n in range(200)],
        "9-currencies": [
            Row(n, business=f"b{n}", account=str(n), currency=currency) for n, currency in enumerate(CURRENCIES)
        ],
        "9-currencies-of-one-business": [
            Row(n, account=str(n), currency=currency) for n, currency in enumerate(CURRENCIES)
        ],
        "one-selected-currency": [Row(n, account=str(n), currency=CURRENCIES[n % 3]) for n in range(6)],
        "level-account": [
            Row(n, account=str(n), currency=currency, campaign=False) for n, currency in enumerate(CURRENCIES[:3])
        ],
        "unreadable-account": [Row(0), Row(1, business="closed", account="2", currency=None)],
        "only-an-unreadable-account": [Row(1, business="closed", account="2", currency=None)],
        "old-campaign": [Row(0), Row(1)],
        "two-businesses-with-one-account": [
            Row(n, business=business) for business in ("acme", "globex") for n in (0, 1)
        ],
        "conversions-withheld": [Row(0), Row(1, conversions=False)],
    }


# Fixed exchange rates of shapes, by currency. The second lacks one.
FIXED_RATES = {
    "9-currencies": dict.fromkeys(CURRENCIES, 0.5),
    "9-currencies-of-one-business": dict.fromkeys(CURRENCIES[1:], 0.5),
}
# Shapes of which the boards show one currency.
SELECTED_CURRENCY = {"one-selected-currency": "EUR"}
# Shapes with one more campaign, of which the exporter withholds the row.
WITHHELD_ROWS = {"old-campaign": Row(7)}


class Page:
    """Input series of promtool: the page, unchanged for 20 minutes."""

    def __init__(self):
        self.series = []

    def add(self, name, labels, value, step=0):
        labels = {"job": "marketing-messages", "instance": "a:1", **labels}
        text = ", ".join(f"{key}={json.dumps(label)}" for key, label in labels.items())
        self.series.append({"series": f"{name}{{{text}}}", "values": f"{value}{step:+d}x{MINUTES}"})

    def add_row(self, row):
        def add(name, value, **more):
            self.add(f"marketing_messages_{name}", row.labels(**more), value)

        add("delivered", row.delivered)
        add("link_clicks", row.clicks)
        add("read_ratio", 0.5)
        add("window_start_timestamp_seconds", 0)
        add("window_end_timestamp_seconds", DAY_SECONDS)
        add("min_roas_threshold", 3)
        add("max_spend_threshold", 80)
        if row.currency:
            add("spend", row.spend, currency=row.currency)
            add("cost_per_delivered", 0.25, currency=row.currency)
            add("cost_per_link_click", 0.5, currency=row.currency)
        if row.conversions:
            add("conversions", row.purchases, action_type=PURCHASE)
            add("conversions", row.checkouts, action_type=CHECKOUT)
            if row.currency:
                add("conversion_value", row.value, action_type=PURCHASE, currency=row.currency)
                add("website_purchase_roas", row.value / row.spend, action_type=PURCHASE)
        else:
            self.add("marketing_messages_exporter_rows_withheld", row.labels(reason="attribution"), 1)
        self.add_properties(row)

    def add_properties(self, row):
        if row.campaign:
            labels = {key: label for key, label in row.labels().items() if key != "window"}
            self.add(
                "marketing_messages_campaign_info",
                {**labels, "account_name": "Shop", "currency": row.currency or "", "status": "ACTIVE"},
                1,
            )
            if row.currency:
                self.add("marketing_messages_campaign_daily_budget", {**labels, "currency": row.currency}, 128)

    def add_source(self, business, account):
        source = {"business": business, "source": f"act_{account}", "window": "today"}
        self.add("marketing_messages_up", source, 1)
        for query in ("delivery", "conversions"):
            name = "marketing_messages_query_last_success_timestamp_seconds"
            self.add(name, {**source, "query": query}, 0, 60)


def sums(rows, key, value):
    """Adds up values by a key; None as key or value is left out."""
    result = defaultdict(int)
    for row in rows:
        if key(row) is not None and value(row) is not None:
            result[key(row)] += value(row)
    return dict(result)


def client(row):
    return f"{row.business} {row.currency}" if row.currency else None


def known(attribute):
    """Value of rows with known conversions, otherwise None."""
    return lambda row: getattr(row, attribute) if row.conversions else None


def expected_totals(rows, selected_currency):
    """Board, start of a panel's title, query, label of its result (None: without label), expected values."""
    rows = [row for row in rows if selected_currency in (None, row.currency)]

    def currency(row):
        return row.currency

    def campaign(row):
        return f"{row.business} {row.account} {row.campaign or ''}"

    def everything(_):
        return ""

    spend, delivered = (lambda row: row.spend), (lambda row: row.delivered)
    revenue, orders = known("value"), known("purchases")
    delivered_rows = sums(rows, everything, delivered)
    campaigns = {(row.business, row.account, row.campaign) for row in rows if row.campaign}
    return [
        ("clients", "Clients, worst", "C", "client", sums(rows, client, spend)),
        ("clients", "Clients, worst", "D", "client", sums(rows, client, revenue)),
        ("clients", "Clients, worst", "G", "client", sums(rows, client, orders)),
        ("clients", "Totals by", "D", "currency", sums(rows, currency, spend)),
        ("clients", "Totals by", "E", "currency", sums(rows, currency, revenue)),
        ("clients", "Totals by", "F", "currency", sums(rows, currency, orders)),
        ("overview", "Totals by", "A", "currency", sums(rows, currency, spend)),
        ("overview", "Totals by", "C", "currency", sums(rows, currency, revenue)),
        ("overview", "Totals by", "G", "currency", sums(rows, currency, orders)),
        ("overview", "Orders ·", "A", None, sums(rows, everything, orders)),
        ("overview", "Campaigns", "A", None, {"": len(campaigns)}),
        ("overview", "Funnel", "A", "step", funnel(rows, delivered_rows)),
        ("campaigns", "Totals by", "A", "currency", sums(rows, currency, spend)),
        ("campaigns", "All campaigns", "B", "key", sums([r for r in rows if r.currency], campaign, spend)),
        ("campaigns", "All campaigns", "E", "key", sums([r for r in rows if r.currency], campaign, revenue)),
        ("campaigns", "All campaigns", "H", "key", sums(rows, campaign, orders)),
        ("campaigns", "Campaigns", "A", None, {"": len(campaigns)}),
    ]


def funnel(rows, delivered):
    steps = {
        "1 Delivered": delivered,
        "2 Read": {"": delivered[""] / 2} if delivered else {},
        "3 Clicked": sums(rows, lambda _: "", lambda row: row.clicks),
        "4 Checkouts": sums(rows, lambda _: "", known("checkouts")),
        "5 Orders": sums(rows, lambda _: "", known("purchases")),
    }
    return {step: value[""] for step, value in steps.items() if value}


def clients_of(rows):
    return {(row.business, row.currency) for row in rows if row.currency} | {
        (row.business, None)
        for row in rows
        if not any(other.business == row.business and other.currency for other in rows)
    }


def document(name, rows):
    """Returns the unit test of a shape and what each of its queries checks."""
    page = Page()
    for row in rows:
        page.add_row(row)
    if name in WITHHELD_ROWS:
        row = WITHHELD_ROWS[name]
        page.add("marketing_messages_exporter_rows_withheld", row.labels(reason="dates"), 1)
        page.add_properties(row)
    for business, account in sorted({(row.business, row.account) for row in rows} or {("acme", "1")}):
        page.add_source(business, account)
    tests, descriptions = [], []

    def expect(description, expr, samples):
        tests.append({"expr": expr, "eval_time": f"{MINUTES}m", "exp_samples": samples})
        descriptions.append((description, expr))

    selected_currency = SELECTED_CURRENCY.get(name)
    for board_name, title, ref_id, label, values in expected_totals(rows, selected_currency):
        # The clients board has no variable for the currency.
        if board_name == "clients" and selected_currency:
            continue
        samples = [
            {"labels": f"{{{label}={json.dumps(key)}}}" if label else "{}", "value": value}
            for key, value in values.items()
        ]
        expect(f"{board_name}, {title}, {ref_id}", board_query(board_name, title, ref_id, selected_currency), samples)
    rates = FIXED_RATES.get(name, {})
    for currency, rate in rates.items():
        page.series.append(
            {
                "series": f'currency:marketing_messages_fixed_rate:ratio{{currency="{currency}", converted_to="EUR"}}',
                "values": f"{rate}x{MINUTES}",
            }
        )
    for ref_id, value in (("A", "spend"), ("B", "value")):
        is_complete = rates and all(row.currency in rates for row in rows)
        total = sum(getattr(row, value) * rates[row.currency] for row in rows) if is_complete else None
        samples = [{"labels": '{converted_to="EUR"}', "value": total}] if is_complete else []
        expect(f"converted {value}", board_query("clients", "Converted total", ref_id), samples)
    number = len(clients_of(rows)) if rows else 1
    rows_query = board_query("clients", "Clients, worst", "A")
    expect("clients: every client has a row", f"count({rows_query})", [{"labels": "{}", "value": number}])
    for description, query in all_queries():
        expect(f"valid: {description}", f"(count({query}) or vector(0)) * 0", [{"labels": "{}", "value": 0}])
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "5m",
        "group_eval_order": [group["name"] for group in yaml.safe_load(RULES.read_text())["groups"]],
        "tests": [{"name": name, "interval": "1m", "input_series": page.series, "promql_expr_test": tests}],
    }, descriptions


def run(name, rows, promtool):
    """Returns the failed checks of a shape."""
    special = SPECIAL_DOCUMENTS.get(name)
    text, descriptions = special() if special else document(name, rows)
    with tempfile.TemporaryDirectory(prefix="shape-") as folder:
        path = Path(folder) / "test.yaml"
        path.write_text(yaml.dump(text, width=10**9, sort_keys=False))
        result = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True)
    if not result.returncode:
        return []
    output = result.stdout + result.stderr
    failures = []
    for description, expr in descriptions:
        _, found, rest = output.partition(f"expr: {go_quoted(expr)}, time:")
        if found:
            failures.append(f"{description}: {rest.split('expr:')[0].strip()[:1000]}")
    return failures or [output[-3000:]]


QUARTERS_PER_DAY = 96
# Until this day, the totals come from `backfill`.
BACKFILLED_DAYS = 10
RECORDED_DAYS = 24


def days_document():
    """Totals of days as `backfill` and the recording rules write them: the value is the number of the day, times the row's
    factor. Day 0 is Thursday, 1 January 1970."""
    series = []
    for name, currency, factor in (("10", "EUR", 1), ("11", "EUR", 2), ("12", "USD", 4)):
        points = ["_"] * (RECORDED_DAYS + 2) * QUARTERS_PER_DAY
        for day in range(1, RECORDED_DAYS):
            end = (day + 1) * QUARTERS_PER_DAY
            # `backfill`: the end of the day in Berlin. The rules: four times between 10:00 and 11:00 of the next day.
            samples = [end - 5] if day <= BACKFILLED_DAYS else range(end + 40, end + 44)
            for index in samples:
                points[index] = str(day * factor)
        labels = f'job="marketing-messages", business="acme", account_id="1", campaign_id="{name}", window="today"'
        for metric in ("spend", "purchase_value", "purchases"):
            money = f', currency="{currency}"' if metric != "purchases" else ""
            series.append(
                {"series": f"day:marketing_messages_{metric}:total{{{labels}{money}}}", "values": " ".join(points)}
            )
    daily = board_query("days", "$currency · spend and revenue per day", "A")
    weekly = board_query("days", "$currency · spend and revenue per week", "A")
    orders = board_query("days", "Orders per day", "A")
    seven_days = board_query("days", "Clients", "A")
    tests, descriptions = [], []

    def expect(description, expr, at, values):
        tests.append(
            {"expr": expr, "eval_time": at, "exp_samples": [{"labels": k, "value": v} for k, v in values.items()]}
        )
        descriptions.append((description, expr))

    for day in (5, 10, 11, 18):
        expect(
            "days: spend of the day", daily, f"{24 * day}h", {'{currency="EUR"}': 3 * day, '{currency="USD"}': 4 * day}
        )
        expect("days: orders of the day", orders, f"{24 * day}h", {"{}": 7 * day})
    # Thursday, 15 January: Monday the 12th (day 11) to Sunday the 18th (day 17).
    week = sum(range(11, 18))
    expect(
        "days: spend of the week", weekly, f"{14 * 24}h", {'{currency="EUR"}': 3 * week, '{currency="USD"}': 4 * week}
    )
    for at, days in ((20 * 24 + 12, range(13, 20)), (20 * 24 + 10, range(12, 19))):
        expect(
            "days: spend of 7 complete days",
            seven_days,
            f"{at}h",
            {
                f'{{business="acme", client="acme {currency}", currency="{currency}"}}': factor * sum(days)
                for currency, factor in (("EUR", 3), ("USD", 4))
            },
        )
    return {
        "evaluation_interval": "15m",
        "tests": [{"name": "recorded-days", "interval": "15m", "input_series": series, "promql_expr_test": tests}],
    }, descriptions


def order_document():
    """Clients in the order of the clients board: the most urgent alert first, then the loss of ROAS since last week."""
    hours = 7 * 24
    clients = {
        # Revenue for the same spend, severity and number of alerts, expected value of the column State to three decimals.
        "critical": (100, "critical", 1, 1000),
        "fallen": (10, "warning", 1, 10.045),
        "many-warnings": (100, "warning", 8, 10.001),
        "informed": (100, "info", 1, 0.1),
        "halved": (40, None, 0, 0.03),
        "healthy": (100, None, 0, 0),
    }
    series = []
    for name, (revenue, severity, number, _) in clients.items():
        row = f'job="marketing-messages", business="{name}", account_id="1", campaign_id="10", window="today"'
        money = f'{row}, currency="EUR"'
        # The revenue of the last hour differs from that of the week before.
        for metric, labels, values in (
            ("spend", money, f"50x{hours}"),
            ("purchases", row, f"4x{hours}"),
            ("purchase_value", money, f"100x{hours - 1} {revenue}"),
        ):
            series.append({"series": f"row:marketing_messages_{metric}:latest{{{labels}}}", "values": values})
        for index in range(number):
            labels = (
                f'alertname="MarketingMessages{index}", alertstate="firing", severity="{severity}", '
                f'business="{name}", currency="EUR"'
            )
            series.append({"series": f"ALERTS{{{labels}}}", "values": f"1x{hours}"})
    score = f"round({board_query('clients', 'Clients, worst', 'B')}, 0.001)"
    to_check = board_query("clients", "To check", "A")
    samples = [{"labels": f'{{client="{name} EUR"}}', "value": state} for name, (_, _, _, state) in clients.items()]
    tests = [
        {"expr": score, "eval_time": f"{hours}h", "exp_samples": samples},
        {"expr": to_check, "eval_time": f"{hours}h", "exp_samples": [{"labels": "{}", "value": 2}]},
    ]
    return {
        "evaluation_interval": "1h",
        "tests": [{"name": "order-of-clients", "interval": "1h", "input_series": series, "promql_expr_test": tests}],
    }, [("clients: order", score), ("clients: to check", to_check)]


SPECIAL_DOCUMENTS = {"recorded-days": days_document, "order-of-clients": order_document}


def go_quoted(text):
    return json.dumps(text, ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--promtool", default="promtool")
    parser.add_argument("shapes", nargs="*")
    arguments = parser.parse_args()
    everything = {**shapes(), **dict.fromkeys(SPECIAL_DOCUMENTS)}
    selected = {name: rows for name, rows in everything.items() if not arguments.shapes or name in arguments.shapes}
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {name: pool.submit(run, name, rows, arguments.promtool) for name, rows in selected.items()}
        for name, job in jobs.items():
            failures = job.result()
            failed += bool(failures)
            print(f"{name}: {'ok' if not failures else ''}", flush=True)
            for failure in failures:
                print(f"  {failure}")
    print(f"{len(selected) - failed} of {len(selected)} shapes passed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
