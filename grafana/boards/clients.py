"""Clients board: one row per business and currency, the worst first. The home of the boards."""

from boards.variables import BUSINESS, JOB, WINDOW, alert_table
from panels import (
    BAD,
    GOOD,
    HIDDEN,
    NEUTRAL,
    SPARKLINE,
    WARN,
    dashboard,
    good_below,
    instant_query,
    range_query,
    stat,
    steps,
    table,
    table_query,
    text_panel,
)

ROW = "job, business, account_id, campaign_id, adset_id, ad_id, window"
ROWS = '{job="$job", business=~"$business", window="$window"}'
CLIENT = "business, currency"
THRESHOLD_ALERTS = (
    "MarketingMessages(SpendAboveThreshold|RoasBelowThreshold|CostPerPurchaseHigh|CostPerLinkClickHigh"
    "|ReadRatioBelowThreshold|SpendWithoutPurchases)"
)

# A business with unreadable ad accounts has no money and no currency, but a row.
CLIENTS = f"""
    group by ({CLIENT}) (row:marketing_messages_spend:latest{ROWS})
    or on (business)
    group by (business) (marketing_messages_up{{job="$job", business=~"$business"}})"""


def money(metric, offset="", by=CLIENT):
    return f"sum by ({by}) (row:marketing_messages_{metric}:latest{ROWS}{offset})"


def counts(metric, offset="", by=CLIENT):
    """Sum of counts per client. The currency of a row is that of its spend."""
    return f"""
    sum by ({by}) (
      row:marketing_messages_spend:latest{ROWS}{offset} * 0
      + on ({ROW}) group_left () row:marketing_messages_{metric}:latest{ROWS}{offset}
    )"""


def roas(offset="", by=CLIENT):
    """Excludes the spend of rows without known conversions."""
    return f"""
    {money("purchase_value", offset, by)}
    / (
      sum by ({by}) (
        row:marketing_messages_spend:latest{ROWS}{offset}
        and on ({ROW}) row:marketing_messages_purchases:latest{ROWS}{offset}
      ) > 0
    )"""


def per_client(expr):
    """Replaces the labels by one, by which the columns are joined."""
    return table_query(f"""
    max by (client) (
      label_join(
        {expr.strip()},
        "client", " ", "business", "currency"
      )
    )""")


def day_total(metric):
    return f'last_over_time(day:marketing_messages_{metric}:total{{business=~"$business"}}[24h])'


RATE = "currency:marketing_messages_fixed_rate:ratio"


def converted(metric):
    """Total in one currency at fixed rates. Absent if a currency has no rate, because the total would be incomplete."""
    return f"""
    sum by (converted_to) (
      row:marketing_messages_{metric}:latest{ROWS}
      * on (currency) group_left (converted_to) max by (currency, converted_to) ({RATE})
    )
    unless on ()
      (group by (currency) (row:marketing_messages_{metric}:latest{ROWS}) unless on (currency) {RATE})"""


# ROAS of each complete day, from the recorded totals.
ROAS_PER_DAY = f"""
    sum by ({CLIENT}) ({day_total("purchase_value")})
    / (
      sum by ({CLIENT}) (
        {day_total("spend")}
        and on (business, account_id, campaign_id, adset_id, ad_id) {day_total("purchases")}
      ) > 0
    )"""


def of_business(expr):
    """A value of a business, on each of its rows."""
    return f"""
    ({CLIENTS.strip()}) * 0
    + on (business) group_left ()
    ({expr.strip()})"""


ORDERS = counts("purchases")
ALERTS = 'ALERTS{ALERTS, business=~"$business"'


def alerts(matchers="", weight=None):
    """Alerts per client: those of its currency, and those of the business without a currency. Their number, or a weight if
    there is one."""
    number = f"{weight} * group" if weight else "count"
    business = of_business(f'{number} by (business) ({ALERTS}{matchers}, currency=""}})').strip()
    return f"""
    label_replace({number} by ({CLIENT}) ({ALERTS}{matchers}, currency!=""}}), "key", "own {weight}", "", "")
    or label_replace(({business}), "key", "all {weight}", "", "")"""


# The most urgent alert decides: 1000 critical, 10 warning, 0.1 info. Among equals, the loss of ROAS since last week decides,
# then the number of alerts. Halved ROAS is a separate state, because a client without thresholds has no alert for it before
# the evening.
HALVED = 0.025
SCORE = f"""
    max by ({CLIENT}) (
      {alerts(', severity="critical"', 1000).strip()}
      or {alerts(', severity="warning"', 10).strip()}
      or {alerts(', severity="info"', 0.1).strip()}
      or label_replace(({CLIENTS.strip()}) * 0, "key", "none", "", "")
    )
    + on ({CLIENT})
    sum by ({CLIENT}) (
      label_replace({2 * HALVED} * clamp(1 - ({roas().strip()}) / (({roas(" offset 1w").strip()}) > 0), 0, 1), "key", "roas", "", "")
      or label_replace(0.0001 * clamp_max(sum by ({CLIENT}) ({alerts().strip()}), 99), "key", "alerts", "", "")
      or label_replace(({CLIENTS.strip()}) * 0, "key", "none", "", "")
    )"""
CHANGE = {
    "unit": "percentunit",
    "decimals": 0,
    "color": {"mode": "thresholds"},
    "custom__cellOptions": {"type": "color-text"},
    "thresholds": steps("text", (-1, BAD), (-0.1, "text"), (0.1, GOOD)),
}
RATIO = {"unit": "suffix:×", "decimals": 2}
LINK = {
    "title": "Open overview",
    "url": "/d/marketing-messages-overview?${datasource:queryparam}&${job:queryparam}&${window:queryparam}"
    "&var-business=${__data.fields.business}&var-currency=${__data.fields.currency}&${__url_time_range}",
}

BOARD = dashboard(
    "marketing-messages-clients",
    "Clients",
    """
    One row per business and currency, the worst first. Amounts in different currencies are never added or compared.
    """,
    [JOB, BUSINESS, WINDOW],
    [
        stat(
            "Need action",
            "Businesses with a critical alert.",
            (6, 3),
            [
                instant_query(
                    f'count(group by (business) ({ALERTS}, business!="", severity="critical"}})) or vector(0)',
                    "clients",
                )
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, BAD)),
        ),
        stat(
            "To check",
            "Businesses with a warning, but without a critical alert.",
            (6, 3),
            [
                instant_query(
                    f"""
                    count(
                      group by (business) ({ALERTS}, business!="", severity="warning"}})
                      unless on (business) {ALERTS}, severity="critical"}}
                    ) or vector(0)
                    """,
                    "clients",
                )
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, WARN)),
        ),
        stat(
            "Clients",
            "Number of businesses in the config.",
            (6, 3),
            [instant_query('count(group by (business) (marketing_messages_up{job="$job", business=~"$business"}))')],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            color="text",
            no_value="no exporter found: check the scrape job",
        ),
        stat(
            "Oldest data",
            "Time since the last successful query of the least recently polled source of this window.",
            (6, 3),
            [
                instant_query(
                    'max(source:marketing_messages_age:seconds{job="$job", business=~"$business", window="$window"})'
                )
            ],
            "s",
            decimals=1,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1800, WARN), (3600, BAD)),
            no_value="not polled yet",
        ),
        table(
            "Clients, worst first · $window",
            """
            Values of the window per business and currency, and the change of ROAS since the same time a week ago; the small
            chart shows ROAS of the last complete days. Rows with critical alerts (act now) come first, then those with
            warnings (check), with other alerts (note) and with less than half of last week's ROAS (falling), each with the
            largest fall first. An empty cell is unknown: no conversions, no budget, or no week before. Messages and clicks leave out Europe, Japan and other regions, which spend includes, so that
            conversion rate and revenue per 1,000 messages are too high there. Click a name to open the client.
            """,
            (24, 17),
            [
                table_query(f"""
                label_join(
                  {CLIENTS.strip()},
                  "client", " ", "business", "currency"
                )"""),
                per_client(SCORE),
                per_client(money("spend")),
                per_client(money("purchase_value")),
                per_client(roas()),
                per_client(f"({roas().strip()})\n/ (({roas(' offset 1w').strip()}) > 0) - 1"),
                per_client(ORDERS),
                per_client(f"{money('purchase_value')}\n/ ({ORDERS.strip()} > 0)"),
                per_client(f"({ORDERS.strip()})\n/ ({counts('link_clicks').strip()} > 0)"),
                per_client(f"1000 * {money('purchase_value')}\n/ ({counts('delivered').strip()} > 0)"),
                per_client(f"""
                sum by ({CLIENT}) (
                  row:marketing_messages_spend:latest{ROWS}
                  and on (job, business, account_id, campaign_id, window) campaign:marketing_messages_day_passed:ratio
                  and on (job, business, account_id, campaign_id) campaign:marketing_messages_daily_budget:latest
                )
                / (
                  sum by ({CLIENT}) (
                    max by (job, business, account_id, campaign_id, currency) (
                      marketing_messages_campaign_daily_budget{{job="$job", business=~"$business"}}
                    )
                    and on (job, business, account_id, campaign_id) row:marketing_messages_spend:latest{ROWS}
                  ) > 0
                )"""),
                per_client(f'count by ({CLIENT}) ({ALERTS}, alertname=~"{THRESHOLD_ALERTS}"}})'),
                per_client(f"sum by ({CLIENT}) ({alerts().strip()})"),
                per_client(
                    of_business(
                        'max by (business) (source:marketing_messages_age:seconds{job="$job", window="$window"})'
                    )
                ),
                range_query(f"""
                max by (client) (
                  label_join(
                    {ROAS_PER_DAY.strip()},
                    "client", " ", "business", "currency"
                  )
                )"""),
            ],
            [
                ("business", "Client", {"custom__minWidth": 140, "links": [LINK]}),
                ("currency", "Currency", {"custom__width": 75}),
                (
                    "Value #B",
                    "State",
                    {
                        "custom__width": 75,
                        "unit": "none",
                        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
                        "color": {"mode": "thresholds"},
                        "thresholds": steps("transparent", (HALVED, NEUTRAL), (10, WARN), (1000, BAD)),
                        "mappings": [
                            {
                                "type": "range",
                                "options": {"from": low, "to": high, "result": {"text": text, "index": i}},
                            }
                            for i, (low, high, text) in enumerate(
                                (
                                    (0, HALVED - 0.0001, "ok"),
                                    (HALVED, 0.0999, "falling"),
                                    (0.1, 9.99, "note"),
                                    (10, 999.9, "check"),
                                    (1000, 10**9, "act now"),
                                )
                            )
                        ],
                    },
                ),
                ("Value #E", "ROAS", {**RATIO, "custom__width": 70}),
                ("Value #F", "vs last week", {**CHANGE, "custom__width": 105}),
                ("Trend #O", "ROAS, 14 days", {**SPARKLINE, "noValue": "–", "custom__width": 115}),
                ("Value #C", "Spend", {"decimals": 0, "custom__width": 100}),
                ("Value #D", "Revenue", {"decimals": 0, "custom__width": 110}),
                ("Value #G", "Orders", {"decimals": 0, "custom__width": 75}),
                ("Value #H", "Order value", {"decimals": 2, "custom__width": 100}),
                ("Value #I", "Conv. rate", {"unit": "percentunit", "decimals": 1, "custom__width": 90}),
                ("Value #J", "Rev. per 1,000", {"decimals": 0, "custom__width": 120}),
                ("Value #K", "Budget used", {"unit": "percentunit", "decimals": 0, "custom__width": 105}),
                (
                    "Value #L",
                    "Over limit",
                    {
                        "unit": "none",
                        "custom__width": 85,
                        "color": {"mode": "thresholds"},
                        "custom__cellOptions": {"type": "color-text"},
                        "thresholds": steps("text", (1, WARN)),
                    },
                ),
                ("Value #M", "Alerts", {"unit": "none", "custom__width": 70}),
                ("Value #N", "Data age", {"unit": "s", "decimals": 1, "custom__minWidth": 90}),
                ("client", "client", HIDDEN),
            ],
            join_by="client",
            sort_by=("State", True),
            no_value="not polled yet",
            # Only the small charts have a time range.
            timeFrom="15d",
            hideTimeOverride=True,
            interval="1d",
        ),
        table(
            "Totals by currency · $window",
            """
            Sums over the clients above, one row per currency, with the same caveats. Amounts in different currencies are never
            added; for a total in one currency, see the page about dashboards.
            """,
            (24, 7),
            [
                table_query(f"count by (currency) (group by ({CLIENT}) (row:marketing_messages_spend:latest{ROWS}))"),
                table_query(roas(by="currency")),
                table_query(f"({roas(by='currency').strip()})\n/ (({roas(' offset 1w', 'currency').strip()}) > 0) - 1"),
                table_query(money("spend", by="currency")),
                table_query(money("purchase_value", by="currency")),
                table_query(counts("purchases", by="currency")),
                table_query(
                    f"{money('purchase_value', by='currency')}\n/ ({counts('purchases', by='currency').strip()} > 0)"
                ),
                table_query(
                    f"({counts('purchases', by='currency').strip()})\n"
                    f"/ ({counts('link_clicks', by='currency').strip()} > 0)"
                ),
                table_query(
                    f"1000 * {money('purchase_value', by='currency')}\n"
                    f"/ ({counts('delivered', by='currency').strip()} > 0)"
                ),
            ],
            [
                ("currency", "Currency", {"custom__minWidth": 90}),
                ("Value #A", "Clients", {"unit": "none", "custom__minWidth": 75}),
                ("Value #B", "ROAS", {**RATIO, "custom__minWidth": 80}),
                ("Value #C", "vs last week", {**CHANGE, "custom__minWidth": 105}),
                ("Value #D", "Spend", {"decimals": 0, "custom__minWidth": 100}),
                ("Value #E", "Revenue", {"decimals": 0, "custom__minWidth": 110}),
                ("Value #F", "Orders", {"decimals": 0, "custom__minWidth": 75}),
                ("Value #G", "Order value", {"decimals": 2, "custom__minWidth": 105}),
                ("Value #H", "Conv. rate", {"unit": "percentunit", "decimals": 1, "custom__minWidth": 95}),
                ("Value #I", "Rev. per 1,000", {"decimals": 0, "custom__minWidth": 120}),
            ],
            join_by="currency",
            sort_by=("Currency", False),
            no_value="not polled yet",
        ),
        alert_table((24, 9)),
        text_panel(
            "How to read this board",
            "Time zones and time of the values.",
            (14, 4),
            """
            Each ad account has its own day: “today” begins at midnight **in the time zone of the ad account**. Purchases are
            attributed hours after a message, so that ROAS of today still rises. Alerts take this into account (`settle_after`).
            """,
        ),
        stat(
            "Converted total · fixed rates · $window",
            """
            Spend and revenue of the clients above in one currency, converted at the fixed rates of prometheus/exchange-rates.yaml,
            not at today's. An approximation, not for accounting. Absent unless every currency has a rate.
            """,
            (10, 4),
            [
                instant_query(converted("spend"), "spend, about {{converted_to}}"),
                instant_query(converted("purchase_value"), "revenue, about {{converted_to}}"),
            ],
            "locale",
            decimals=0,
            color="text",
            text_mode="value_and_name",
            text_sizes=(13, 20),
            no_value="no fixed rates: optional, see the documentation",
        ),
    ],
)
