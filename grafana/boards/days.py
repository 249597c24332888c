"""Days board: recorded totals of days, weeks and months, each at its own date and the same for every reader."""

from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB
from panels import (
    BAD,
    GOOD,
    HIDDEN,
    NEUTRAL,
    PREVIOUS,
    WARN,
    currency_overrides,
    dashboard,
    override,
    range_query,
    steps,
    table,
    table_query,
    text_panel,
    time_series,
)

# The recorded totals of a day have samples between 10:00 and 11:00 UTC of the next day, and those of `backfill` one at the
# end of the day in the time zone of the ad account. Both are in the 24 hours that end at 10:59:30 UTC of the next day.
# Steps of a day begin at midnight UTC for every reader, because the board has the time zone UTC.
AT_ITS_DATE = "offset -34h59m30s"
# 168 h and 365 d, less the shift of a day to its date.
WEEK_BEFORE = "offset 133h30s"
YEAR_BEFORE = "offset 8725h30s"
ROW = "business, account_id, campaign_id, adset_id, ad_id"
IN_CURRENCY = 'currency=~"$currency"'


def day(metric, shift=AT_ITS_DATE, matcher=""):
    """Total of each row on the day of the step. The rows of a day are not grouped by their ids before they are added, because
    that would take five times the CPU time: `backfill` and the recording rules write the same series."""
    return f"last_over_time(day:marketing_messages_{metric}:total{{DAYS{matcher}}}[24h] {shift})"


def money(metric, shift=AT_ITS_DATE, by="currency"):
    return f"sum by ({by}) ({day(metric, shift, f', {IN_CURRENCY}')})"


def counts(metric, shift=AT_ITS_DATE):
    """Sum of counts over all currencies: leaving out the rows of other currencies would double the CPU time."""
    return f"sum({day(metric, shift)})"


# Only campaigns with known conversions.
SPEND_WITH_CONVERSIONS = f"""
    sum by (currency) (
      {day("spend", matcher=f", {IN_CURRENCY}")}
      and on ({ROW}) {day("purchases")}
    )"""


def week(expr):
    """Total of the days from Monday to Sunday around the step. Steps of 7 days are Thursdays, as 1 January 1970 was. 167 h
    contain exactly 7 midnights, whether or not the start of a range belongs to it (Prometheus 2 and 3)."""
    return f"sum_over_time(({expr})[167h:1d] offset -3d)"


CLIENT = "business, currency"
# After 11:00 UTC, yesterday and the 6 days before; earlier, the 7 days until the day before yesterday.
SEVEN_DAYS, SEVEN_DAYS_BEFORE = "[167h:1d] offset 35h", "[167h:1d] offset 203h"


def seven_days(expr, span=SEVEN_DAYS):
    return f"sum_over_time(({expr}){span})"


def per_client(expr):
    return table_query(f"""
    max by (client) (
      label_join(
        {expr.strip()},
        "client", " ", "business", "currency"
      )
    )""")


def change(metric):
    now, before = (seven_days(money(metric, by=CLIENT), span) for span in (SEVEN_DAYS, SEVEN_DAYS_BEFORE))
    return f"({now})\n/ ({before} > 0)\n- 1"


ORDERS_OF_CLIENT = f"""
      sum by ({CLIENT}) (
        {day("spend", matcher=f", {IN_CURRENCY}")} * 0
        + on ({ROW}) group_left () {day("purchases")}
      )"""

CHANGE = {
    "unit": "percentunit",
    "decimals": 0,
    "color": {"mode": "thresholds"},
    "custom__cellOptions": {"type": "color-text"},
    "custom__width": 115,
}
DAILY = {"interval": "1d", "columns": True, "timeFrom": "35d"}
REGIONS = (
    "Delivered excludes Europe and Japan; clicks also exclude Argentina, Turkey and South Korea; spend includes them."
)
# Columns of revenue, with a line for spend: columns of both would cover each other.
MONEY_STYLE = [
    override(
        "byRegexp",
        "/^spend/",
        color={"mode": "fixed", "fixedColor": NEUTRAL},
        custom__drawStyle="line",
        custom__fillOpacity=0,
        custom__lineWidth=2,
    ),
    override("byRegexp", "/^revenue/", color={"mode": "fixed", "fixedColor": GOOD}),
]
WEEK_BEFORE_LINE = override(
    "byRegexp",
    "/week before/",
    color={"mode": "fixed", "fixedColor": PREVIOUS},
    custom__drawStyle="line",
    custom__fillOpacity=0,
    custom__lineWidth=1,
)
REPEATED = {"repeat": "currency", "repeatDirection": "h", "maxPerRow": 3}

MONTH_VALUES = ("spend", "revenue", "revenue, year before")
MONTH_TRANSFORMATIONS = [
    {"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}},
    # Not in the time zone of the reader.
    {"id": "formatTime", "options": {"timeField": "Time", "outputFormat": "YYYY-MM", "timezone": "utc"}},
    {
        "id": "groupBy",
        "options": {
            "fields": {
                "Time": {"operation": "groupby", "aggregations": []},
                **{name: {"operation": "aggregate", "aggregations": ["sum"]} for name in MONTH_VALUES},
            }
        },
    },
    {
        "id": "organize",
        "options": {
            "excludeByName": {},
            "indexByName": {"Time": 0, **{f"{name} (sum)": i for i, name in enumerate(MONTH_VALUES, start=1)}},
            "renameByName": {
                "Time": "Month",
                "spend (sum)": "Spend",
                "revenue (sum)": "Revenue",
                "revenue, year before (sum)": "A year ago",
            },
        },
    },
]


def months_table():
    result = table(
        "$currency · months",
        """
        Totals of calendar months, and the revenue of the same days a year before. The first and the current month are incomplete: they
        contain the days of the time range that have data.
        """,
        (24, 9),
        [
            range_query(money("spend"), "spend"),
            range_query(money("purchase_value"), "revenue"),
            range_query(money("purchase_value", YEAR_BEFORE), "revenue, year before"),
        ],
        [
            ("Time", "Month", {"custom__width": 80}),
            ("Value Spend", "Spend", {"decimals": 0, "custom__minWidth": 90}),
            ("Value Revenue", "Revenue", {"decimals": 0, "custom__minWidth": 90}),
            (
                "Value A year ago",
                "A year ago",
                {
                    "decimals": 0,
                    "custom__minWidth": 90,
                    # The sum of days without data is 0.
                    "mappings": [{"type": "value", "options": {"0": {"text": "–", "index": 0}}}],
                },
            ),
        ],
        sort_by=("Month", True),
        no_value="no complete day yet",
        interval="1d",
        **{**REPEATED, "maxPerRow": 2},
    )
    result["transformations"] = MONTH_TRANSFORMATIONS
    return result


BOARD = dashboard(
    "marketing-messages-days",
    "Days",
    """
    Recorded totals of days, weeks and months, from the recording rules and from the history of the subcommand backfill.
    """,
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN],
    [
        text_panel(
            "How to read this board",
            "Meaning of the columns and origin of the history.",
            (24, 4),
            """
            Each column is the total of one day **in the time zone of its ad account**, and has the date of this day, for every
            reader. A day appears at 11:00 UTC of the next day. The subcommand `backfill` provides **a year of history**; without
            it, the days begin with the installation. Recorded days keep the value of the next day; Meta restates conversions for
            up to 28 days.
            """,
        ),
        table(
            "Clients · last 7 complete days",
            """
            Sum of the last seven complete days per business and currency, and the change compared with the seven days before.
            Orders are website purchases.
            """,
            (24, 8),
            [
                table_query(f"""
                label_join(
                  {seven_days(money("spend", by=CLIENT))},
                  "client", " ", "business", "currency"
                )"""),
                per_client(change("spend")),
                per_client(seven_days(money("purchase_value", by=CLIENT))),
                per_client(change("purchase_value")),
                per_client(seven_days(ORDERS_OF_CLIENT.strip())),
            ],
            [
                ("business", "Client", {"custom__minWidth": 120}),
                ("currency", "Currency", {"custom__width": 80}),
                ("Value #A", "Spend", {"decimals": 0, "custom__minWidth": 100}),
                ("Value #B", "vs week before", {**CHANGE, "thresholds": steps("text")}),
                ("Value #C", "Revenue", {"decimals": 0, "custom__minWidth": 110}),
                (
                    "Value #D",
                    "vs week before ",
                    {
                        **CHANGE,
                        "thresholds": steps("text", (-1, BAD), (-0.1, "text"), (0.1, GOOD)),
                    },
                ),
                ("Value #E", "Orders", {"decimals": 0, "custom__minWidth": 75}),
                ("client", "client", HIDDEN),
            ],
            join_by="client",
            sort_by=("vs week before ", False),
            no_value="no complete day yet",
        ),
        time_series(
            "$currency · spend and revenue per day",
            """
            Spend, and value of attributed website purchases, of the last five weeks. Grey line: revenue on the
            same weekday a week before.
            """,
            (24, 9),
            [
                range_query(money("spend"), "spend {{currency}}"),
                range_query(money("purchase_value"), "revenue {{currency}}"),
                range_query(money("purchase_value", WEEK_BEFORE), "revenue {{currency}}, a week before"),
            ],
            "locale",
            overrides=[*currency_overrides(whole_units=True), *MONEY_STYLE, WEEK_BEFORE_LINE],
            no_value="no complete day yet",
            **DAILY,
            **REPEATED,
        ),
        time_series(
            "ROAS per day",
            """
            Return on ad spend (revenue divided by spend) of the campaigns with known conversions, in the last five weeks.
            """,
            (12, 8),
            [
                range_query(
                    f"{money('purchase_value')}\n/ ({SPEND_WITH_CONVERSIONS.strip()} > 0)",
                    "{{currency}}",
                )
            ],
            "suffix:×",
            decimals=2,
            no_value="no complete day yet",
            **{**DAILY, "columns": False},
        ),
        time_series(
            "Orders per day",
            """
            Website purchases attributed to the campaigns, over all currencies, in the last five weeks. Grey line: the same weekday a week before.
            """,
            (12, 8),
            [
                range_query(counts("purchases"), "orders"),
                range_query(counts("purchases", WEEK_BEFORE), "orders, a week before"),
            ],
            "short",
            overrides=[
                override("byName", "orders", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                WEEK_BEFORE_LINE,
            ],
            no_value="no complete day yet",
            **DAILY,
        ),
        time_series(
            "Messages per day",
            f"""
            Messages delivered (columns, left axis) and link clicks (line, right axis), over all currencies, in the last five
            weeks. {REGIONS}
            """,
            (12, 8),
            [range_query(counts("delivered"), "delivered"), range_query(counts("link_clicks"), "clicks")],
            "short",
            # On one axis, the clicks would be invisible.
            overrides=[
                override("byName", "delivered", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                override(
                    "byName",
                    "clicks",
                    color={"mode": "fixed", "fixedColor": WARN},
                    custom__drawStyle="line",
                    custom__fillOpacity=0,
                    custom__lineWidth=2,
                    custom__axisPlacement="right",
                ),
            ],
            no_value="no complete day yet",
            **DAILY,
        ),
        time_series(
            "Click rate (CTR) and conversion rate per day",
            f"""
            Link clicks divided by delivered messages, and purchases divided by link clicks, over all currencies, in the last
            five weeks. {REGIONS}
            """,
            (12, 8),
            [
                range_query(f"{counts('link_clicks')}\n/ ({counts('delivered')} > 0)", "CTR"),
                range_query(f"{counts('purchases')}\n/ ({counts('link_clicks')} > 0)", "conversion rate"),
            ],
            "percentunit",
            no_value="no complete day yet",
            **{**DAILY, "columns": False},
        ),
        time_series(
            "$currency · spend and revenue per week",
            """
            Totals of weeks from Monday to Sunday, drawn at their Thursday. The week that has not ended contains its complete
            days.
            """,
            (24, 8),
            [
                range_query(week(money("spend")), "spend {{currency}}"),
                range_query(week(money("purchase_value")), "revenue {{currency}}"),
            ],
            "locale",
            overrides=[*currency_overrides(whole_units=True), *MONEY_STYLE],
            no_value="no complete day yet",
            interval="7d",
            columns=True,
            **REPEATED,
        ),
        months_table(),
    ],
    timezone="utc",
    time_from="now-365d",
    refresh="1h",
)
