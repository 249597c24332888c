"""Overview board: totals, changes since last week, and firing alerts. For marketing leads."""

from boards.totals import (
    CAMPAIGN_COUNT,
    CHANGE,
    IN_CURRENCY,
    ROW,
    currency_table,
    last_week,
    relative_change,
    selected,
)
from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB, WINDOW, alert_table
from panels import (
    BAD,
    GOOD,
    HIDDEN,
    NEUTRAL,
    PREVIOUS,
    RATIO_TO_MIN,
    WARN,
    annotation,
    currency_overrides,
    dashboard,
    dashed_line,
    dedent,
    good_below,
    instant_query,
    override,
    range_query,
    stat,
    steps,
    table,
    table_query,
    text_panel,
    threshold_ratio,
    time_series,
)


# Increase within an hour by currency.
def per_hour(metric, hours_before=0):
    series = f"row:marketing_messages_{metric}:latest{{ROWS, {IN_CURRENCY}}}"
    now = f"{series} offset {hours_before}h" if hours_before else series
    return f"sum by (currency) (clamp_min({now} - {series} offset {hours_before + 1}h, 0))"


# Counts of the funnel steps. Meta reports no count of reads: read is delivered times read ratio.
DELIVERED = f"sum({selected('delivered')})"
READ = f"""
    sum(
      {selected("delivered")}
      * row:marketing_messages_read_ratio:latest{{ROWS}}
    )"""
CLICKED = f"sum({selected('link_clicks')})"
CHECKOUTS = f"sum({selected('checkouts')})"
PURCHASES = f"sum({selected('purchases')})"
# Only campaigns with known conversions.
CLICKS_WITH_CONVERSIONS = f"""
    sum(
      {selected("link_clicks")}
      and on ({ROW}) row:marketing_messages_purchases:latest{{ROWS}}
    )"""
# Steps with their count and their rate.
FUNNEL = (
    ("1 Delivered", DELIVERED, None),
    ("2 Read", READ, f"{READ.strip()} / ({DELIVERED} > 0)"),
    ("3 Clicked", CLICKED, f"{CLICKED} / ({DELIVERED} > 0)"),
    ("4 Checkouts", CHECKOUTS, f"{CHECKOUTS} / ({CLICKS_WITH_CONVERSIONS.strip()} > 0)"),
    ("5 Orders", PURCHASES, f"{PURCHASES} / ({CHECKOUTS} > 0)"),
)


def funnel(values):
    """Union of the steps, with the step as label."""
    parts = [f'label_replace({value.strip()}, "step", "{step}", "", "")' for step, value in values if value]
    return "\nor\n".join(parts)


# Unknown values have the base color.
GROWTH_STEPS = steps("text", (-1000, BAD), (-0.05, "text"), (0.05, GOOD))
RATES = [(step, rate) for step, _, rate in FUNNEL]
RATES_LAST_WEEK = [(step, rate and last_week(rate)) for step, rate in RATES]
REGIONS = "Delivered and read exclude Europe and Japan; clicks also exclude Argentina, Turkey and South Korea."

# ROAS of each campaign divided by its own min_roas, above applies_above_spend.
KEY = "business, campaign_id, campaign_name"
ROAS_TO_THRESHOLD = f"""
      max by ({KEY}) (
        (
          {selected("roas")}
          unless on ({ROW}) row:marketing_messages_spend:below_minimum{{ROWS}}
        )
        / on ({ROW}) group_left ()
          (max by ({ROW}) (marketing_messages_min_roas_threshold{{ROWS}}) > 0)
      )"""
LOWEST_ROAS_TO_THRESHOLD = f"""
    bottomk(12,
{ROAS_TO_THRESHOLD}
    )"""


def lowest(expr):
    """Value of the campaigns with the lowest ROAS, by the label that joins the columns."""
    return table_query(f"""
    max by (key) (
      label_join(
        {expr}
        and on (business, campaign_id)
        {dedent(LOWEST_ROAS_TO_THRESHOLD)},
        "key", " ", "business", "campaign_id"
      )
    )""")


BOARD = dashboard(
    "marketing-messages-overview",
    "Overview",
    "Firing alerts, totals, and changes since last week. Amounts in different currencies are never added.",
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN, WINDOW],
    [
        alert_table((24, 6)),
        stat(
            "Critical alerts",
            """
            Number of firing alerts that need action now, for the selected businesses and for the exporter itself.
            """,
            (8, 3),
            [
                instant_query(
                    """
                count(ALERTS{ALERTS, severity="critical", business=~"$business|"}) or vector(0)
                """,
                    "alerts",
                )
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, BAD)),
        ),
        stat(
            "Below min ROAS",
            """
            Number of campaigns with spend above applies_above_spend and a return on ad spend below min_roas of the
            exporter's config.
            """,
            (8, 3),
            [instant_query(f"count({ROAS_TO_THRESHOLD.strip()} < 1) or vector(0)", "campaigns")],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, WARN)),
        ),
        stat(
            "Campaigns",
            """
            Number of campaigns with data in this window. With insights.level account, values have no campaigns.
            """,
            (8, 3),
            [instant_query(CAMPAIGN_COUNT, "campaigns")],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            color="text",
        ),
        stat(
            "Orders · $window",
            """
            Website purchases attributed to these campaigns, over the selected currencies.
            """,
            (8, 3),
            [instant_query(PURCHASES, "orders")],
            "locale",
            decimals=0,
            color="text",
            text_mode="value",
            text_sizes=(14, 30),
            no_value="unknown",
        ),
        stat(
            "Orders vs last week",
            """
            Change of the orders since the same time a week before. Green: more than 5 % up. Red: more than 5 % down.
            """,
            (8, 3),
            [instant_query(relative_change(PURCHASES), "orders")],
            "percentunit",
            decimals=0,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=GROWTH_STEPS,
            no_value="needs a week",
        ),
        stat(
            "Oldest data",
            """
            Time since the last successful poll of the least recently polled source. Meta refreshes its data about every
            15 minutes.
            """,
            (8, 3),
            [
                instant_query(
                    """
                max(source:marketing_messages_age:seconds{SOURCES, window="$window"})
                """,
                    "age",
                )
            ],
            "s",
            decimals=1,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1800, WARN), (3600, BAD)),
            no_value="not polled yet",
        ),
        currency_table((24, 8)),
        time_series(
            "$currency · spend and revenue per hour",
            """
            Increase of spend and attributed revenue within an hour, and at the same time last week (grey). The hour
            of midnight, in the time zone of each ad account, is incomplete. Meta can restate values downwards, which counts as
            no increase.
            """,
            (24, 8),
            [
                range_query(per_hour("spend"), "spend {{currency}}"),
                range_query(per_hour("purchase_value"), "revenue {{currency}}"),
                range_query(per_hour("spend", 168), "spend {{currency}}, last week"),
                range_query(per_hour("purchase_value", 168), "revenue {{currency}}, last week"),
            ],
            "locale",
            no_value="needs an hour of data",
            overrides=[
                *currency_overrides(whole_units=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                override("byRegexp", "/^revenue/", color={"mode": "fixed", "fixedColor": GOOD}),
                dashed_line("/^spend.*last week/"),
                override(
                    "byRegexp",
                    "/^revenue.*last week/",
                    color={"mode": "fixed", "fixedColor": PREVIOUS},
                    custom__lineWidth=1,
                ),
            ],
            # Values change with the polls: shorter steps would only cost CPU time.
            interval="15m",
            repeat="currency",
            repeatDirection="h",
            maxPerRow=3,
        ),
        table(
            "Lowest ROAS relative to threshold",
            """
            The twelve campaigns with the lowest return on ad spend relative to their own min_roas of the exporter's config,
            among those with spend above applies_above_spend. Red: below the threshold. Orange: less than 20 % above
            it.
            """,
            (12, 9),
            [
                table_query(f"""
                label_join(
                  {dedent(LOWEST_ROAS_TO_THRESHOLD)},
                  "key", " ", "business", "campaign_id"
                )"""),
                lowest("max by (business, campaign_id) (row:marketing_messages_roas:latest{ROWS})"),
                lowest("max by (business, campaign_id) (marketing_messages_min_roas_threshold{ROWS})"),
            ],
            [
                (
                    "campaign_name",
                    "Campaign",
                    {
                        "custom__minWidth": 140,
                        "links": [
                            {
                                "title": "Open campaign",
                                "url": "/d/marketing-messages-campaign?${datasource:queryparam}&${job:queryparam}&${window:queryparam}"
                                "&var-business=${__data.fields.business}&var-campaign=${__data.fields.campaign_id}&${__url_time_range}",
                            }
                        ],
                    },
                ),
                ("Value #A", "% of min", threshold_ratio(RATIO_TO_MIN, 80)),
                ("Value #B", "ROAS", {"unit": "none", "decimals": 2, "custom__width": 60}),
                ("business", "Business", {"custom__minWidth": 95}),
                ("Value #C", "Min ROAS", {"unit": "none", "decimals": 2, "custom__width": 90}),
                ("campaign_id", "campaign_id", HIDDEN),
                ("key", "key", HIDDEN),
            ],
            join_by="key",
            sort_by=("% of min", False),
            no_value="no campaign has a threshold min_roas and enough spend",
        ),
        table(
            "Funnel · $window",
            f"""
            Number of messages, people or orders per step, and its rate: the step as a percentage of the step before (read and clicked: of
            delivered), now and at the same time a week before. Checkouts are a percentage of the clicks of campaigns with known
            conversions. {REGIONS} Read also excludes people who have read receipts turned off. Checkouts and orders are
            estimated by Meta.
            """,
            (12, 9),
            [
                table_query(funnel([(step, count) for step, count, _ in FUNNEL])),
                table_query(funnel(RATES)),
                table_query(funnel(RATES_LAST_WEEK)),
                table_query(f"({funnel(RATES)})\n/ on (step)\n(({funnel(RATES_LAST_WEEK)}) > 0) - 1"),
            ],
            [
                ("step", "Step", {"custom__width": 100}),
                ("Value #A", "Number", {"decimals": 0, "custom__minWidth": 80}),
                ("Value #B", "Rate", {"unit": "percentunit", "decimals": 1, "custom__minWidth": 60}),
                ("Value #C", "Last week", {"unit": "percentunit", "decimals": 1, "custom__minWidth": 85}),
                ("Value #D", "change", {**CHANGE, "custom__width": 65}),
            ],
            join_by="step",
            sort_by=("Step", False),
            no_value="no messages in this window",
        ),
        text_panel(
            "Excluded regions",
            "Regions that the funnel excludes.",
            (24, 3),
            f"""
            {REGIONS} Spend and purchases include all regions.
            """,
        ),
    ],
    annotations=[
        annotation(
            "Alerts",
            """
            max by (alertname, severity, business, campaign_name) (
              ALERTS{ALERTS, business=~"$business", campaign_id=~"$campaign"}
            )
            """,
            "{{alertname}}",
            "{{campaign_name}} ({{business}})",
            BAD,
        )
    ],
)
