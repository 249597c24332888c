"""Campaign board: performance of one campaign over the day, compared with its thresholds and budget."""

from boards.variables import BUSINESS, JOB, ONE_CAMPAIGN, WINDOW
from panels import (
    BAD,
    GOOD,
    NEUTRAL,
    PREVIOUS,
    WARN,
    annotation,
    bar_gauge,
    currency_overrides,
    dashboard,
    dashed_line,
    good_below,
    instant_query,
    override,
    range_query,
    row,
    stat,
    table,
    table_query,
    time_series,
)

ROW_SELECTOR = 'job="$job", business=~"$business", campaign_id=~"$campaign", window="$window"'
CAMPAIGN_SELECTOR = 'job="$job", business=~"$business", campaign_id=~"$campaign"'


# A campaign can belong to two businesses, with the same values. `max` shows it once.
def total(metric):
    return f"max(sum by (business) (row:marketing_messages_{metric}:latest{{{ROW_SELECTOR}}}))"


def by_currency(metric):
    return f"max by (currency) (sum by (business, currency) (row:marketing_messages_{metric}:latest{{{ROW_SELECTOR}}}))"


def threshold(name):
    return f"max(marketing_messages_{name}_threshold{{{ROW_SELECTOR}}})"


def with_currency(expr):
    """Adds the campaign's currency to a monetary value without a `currency` label."""
    return f"""
    {expr}
    * on () group_left (currency)
      topk(1, max by (currency) (marketing_messages_campaign_info{{{CAMPAIGN_SELECTOR}}}))"""


SPEND, REVENUE = by_currency("spend"), by_currency("purchase_value")
ROAS = f"{total('purchase_value')}\n/ ({total('spend')} > 0)"
READ = f"""
    max(
      sum by (business) (
        row:marketing_messages_delivered:latest{{{ROW_SELECTOR}}}
        * row:marketing_messages_read_ratio:latest{{{ROW_SELECTOR}}}
      )
    )"""
BUDGET = f"max by (currency) (marketing_messages_campaign_daily_budget{{{CAMPAIGN_SELECTOR}}})"
PROJECTED = with_currency(f"max(campaign:marketing_messages_projected_spend:sum{{{CAMPAIGN_SELECTOR}}})")
# A budget without a projection could be read as the projection.
BUDGET_IF_PROJECTED = f"{BUDGET}\nand on () campaign:marketing_messages_projected_spend:sum{{{CAMPAIGN_SELECTOR}}}"


def cost_per(metric):
    return f"{SPEND}\n/ on () group_left () ({total(metric)} > 0)"


def weighted_cost(cost, count):
    """Meta's cost per message or click, averaged over rows with the count as weight.

    Meta computes this cost over the regions that the count includes. Spend includes all regions.
    """
    return f"""
    max by (currency) (
      sum by (business, currency) (
        row:marketing_messages_{cost}:latest{{{ROW_SELECTOR}}}
        * ignoring (currency) group_left () row:marketing_messages_{count}:latest{{{ROW_SELECTOR}}}
      )
    )
    / on () group_left () ({total(count)} > 0)"""


def per_hour(metric, hours_before=0):
    """Increase within an hour."""
    series = f"row:marketing_messages_{metric}:latest{{{ROW_SELECTOR}}}"
    now = f"{series} offset {hours_before}h" if hours_before else series
    return (
        f"max by (currency) (sum by (business, currency) (clamp_min({now} - {series} offset {hours_before + 1}h, 0)))"
    )


def last_week(expr):
    """The same query at the same time a week before."""
    return expr.replace(f"{{{ROW_SELECTOR}}}", f"{{{ROW_SELECTOR}}} offset 1w")


def by_step(values):
    """Union of the values of the funnel's steps, with the step as label."""
    return "\nor\n".join(f'label_replace({value.strip()}, "step", "{step}", "", "")' for step, value in values)


NUMBERS = [
    ("1 Delivered", total("delivered")),
    ("2 Read", READ),
    ("3 Clicked", total("link_clicks")),
    ("4 Checkouts", total("checkouts")),
    ("5 Orders", total("purchases")),
]
RATES = [
    ("2 Read", f"{READ.strip()} / ({total('delivered')} > 0)"),
    ("3 Clicked", f"{total('link_clicks')} / ({total('delivered')} > 0)"),
    ("4 Checkouts", f"{total('checkouts')} / ({total('link_clicks')} > 0)"),
    ("5 Orders", f"{total('purchases')} / ({total('checkouts')} > 0)"),
]
COSTS = [
    ("1 Delivered", weighted_cost("cost_per_delivered", "delivered")),
    ("3 Clicked", weighted_cost("cost_per_link_click", "link_clicks")),
    ("4 Checkouts", cost_per("checkouts")),
    ("5 Orders", cost_per("purchases")),
]

BOARD = dashboard(
    "marketing-messages-campaign",
    "Campaign",
    "Performance of one campaign over the day, compared with its thresholds and its budget.",
    [JOB, BUSINESS, ONE_CAMPAIGN, WINDOW],
    [
        row("$campaign"),
        stat(
            "Spend · $window",
            "Amount spent as of the last successful poll.",
            (8, 3),
            [instant_query(SPEND, "{{currency}}")],
            "locale",
            overrides=currency_overrides(),
            text_mode="value",
            text_sizes=(14, 30),
        ),
        stat(
            "Revenue · $window",
            """
            Value of website purchases attributed to the campaign. Estimated by Meta and restated for up to 28 days.
            """,
            (8, 3),
            [instant_query(REVENUE, "{{currency}}")],
            "locale",
            overrides=currency_overrides(),
            text_mode="value",
            color=GOOD,
            text_sizes=(14, 30),
            no_value="unknown",
        ),
        stat(
            "ROAS · $window",
            """
            Return on ad spend (revenue divided by spend), and the threshold min_roas of the exporter's config.
            """,
            (8, 3),
            [instant_query(ROAS, "current"), instant_query(threshold("min_roas"), "threshold")],
            "suffix:×",
            decimals=2,
            text_mode="value_and_name",
            color="text",
            text_sizes=(13, 18),
            no_value="unknown",
        ),
        stat(
            "Purchases · $window",
            "Website purchases attributed to the campaign. Estimated by Meta.",
            (8, 3),
            [instant_query(total("purchases"))],
            "locale",
            decimals=0,
            text_mode="value",
            color="text",
            text_sizes=(14, 30),
            no_value="unknown",
        ),
        stat(
            "Cost per purchase · $window",
            """
            Spend divided by purchases, and the threshold max_cost_per_purchase of the exporter's config.
            """,
            (8, 3),
            [
                instant_query(cost_per("purchases"), "current {{currency}}"),
                instant_query(with_currency(threshold("max_cost_per_purchase")), "threshold {{currency}}"),
            ],
            "locale",
            decimals=2,
            overrides=currency_overrides(),
            text_mode="value_and_name",
            color="text",
            text_sizes=(13, 18),
            no_value="no purchases",
        ),
        stat(
            "Status",
            "Status of the campaign as reported by Meta (effective_status), or ENDED after its end.",
            (8, 3),
            [
                instant_query(
                    f"topk(1, max by (status) (marketing_messages_campaign_info{{{CAMPAIGN_SELECTOR}}}))", "{{status}}"
                ),
            ],
            "none",
            text_mode="name",
            color="text",
            text_sizes=(24, 24),
        ),
        time_series(
            "ROAS and threshold · $window",
            """
            Return on ad spend (revenue divided by spend). Dashed red: min_roas of the exporter's config. Dashed grey:
            previous day. Values early in the day are based on little data.
            """,
            (12, 8),
            [
                range_query(ROAS, "ROAS"),
                range_query(threshold("min_roas"), "threshold"),
                range_query(ROAS.replace("})", "} offset 1d)"), "previous day"),
            ],
            "none",
            decimals=2,
            overrides=[
                override("byName", "ROAS", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                dashed_line("/^threshold/", BAD, 2),
                dashed_line("/^previous day/"),
            ],
        ),
        time_series(
            "Spend, threshold and budget · $window",
            """
            Amount spent. Dashed red: max_spend of the exporter's config. Dashed orange: daily budget in Ads Manager.
            Dashed grey: spend of the previous day.
            """,
            (12, 8),
            [
                range_query(SPEND, "spend {{currency}}"),
                range_query(with_currency(threshold("max_spend")), "threshold {{currency}}"),
                range_query(
                    f"""
                    {BUDGET}
                    and on () campaign:marketing_messages_day_passed:ratio{{{ROW_SELECTOR}}}
                    """,
                    "daily budget {{currency}}",
                ),
                range_query(SPEND.replace("})", "} offset 1d)"), "previous day {{currency}}"),
            ],
            "locale",
            overrides=[
                *currency_overrides(whole_units=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                dashed_line("/^threshold/", BAD, 2),
                dashed_line("/^daily budget/", WARN),
                dashed_line("/^previous day/"),
            ],
        ),
        table(
            "Funnel · $window",
            """
            Number per step, as a percentage of the step before (read and clicked: of delivered), the same percentage at the same
            time a week before, and the cost of each. Delivered and read exclude Europe and Japan; clicks also exclude Argentina,
            Turkey and South Korea. Checkouts and orders are estimated by Meta. Cost per message and per click as reported by
            Meta; cost per checkout and per order is total spend divided by the number.
            """,
            (12, 8),
            [
                table_query(by_step(NUMBERS)),
                table_query(by_step(RATES)),
                table_query(by_step([(step, last_week(rate)) for step, rate in RATES])),
                table_query(by_step(COSTS)),
            ],
            [
                ("step", "Step", {"custom__width": 110}),
                ("Value #A", "Number", {"decimals": 0, "custom__minWidth": 80}),
                ("Value #B", "Rate", {"unit": "percentunit", "decimals": 1, "custom__minWidth": 60}),
                ("Value #C", "Last week", {"unit": "percentunit", "decimals": 1, "custom__minWidth": 80}),
                ("Value #D", "Cost each", {"decimals": 4, "custom__minWidth": 90}),
                ("currency", "Currency", {"custom__width": 80}),
            ],
            join_by="step",
            sort_by=("Step", False),
            no_value="no messages in this window",
        ),
        time_series(
            "Spend and revenue per hour · $window",
            """
            Increase of spend and attributed revenue within an hour, and at the same time last week (grey). The hour of midnight,
            in the time zone of the ad account, is incomplete.
            """,
            (12, 8),
            [
                range_query(per_hour("spend"), "spend {{currency}}"),
                range_query(per_hour("purchase_value"), "revenue {{currency}}"),
                range_query(per_hour("purchase_value", 168), "revenue {{currency}}, last week"),
            ],
            "locale",
            no_value="needs an hour of data",
            overrides=[
                *currency_overrides(whole_units=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": NEUTRAL}),
                override("byRegexp", "/^revenue/", color={"mode": "fixed", "fixedColor": GOOD}),
                override(
                    "byRegexp", "/last week/", color={"mode": "fixed", "fixedColor": PREVIOUS}, custom__lineWidth=1
                ),
            ],
        ),
        bar_gauge(
            "Daily budget used",
            """
            Spent share of the daily budget, elapsed share of the ad account's day, and projected share of the budget at
            midnight, by the curve of earlier days. Only for windows that cover the current day. Meta may exceed the
            daily budget by up to 75 % on a day and compensates within the week.
            """,
            (7, 6),
            [
                instant_query(
                    f"""
                    ({total("spend")} and on () campaign:marketing_messages_day_passed:ratio{{{ROW_SELECTOR}}})
                    / on () (sum({BUDGET}) > 0)
                    """,
                    "Spent",
                ),
                instant_query(f"max(campaign:marketing_messages_day_passed:ratio{{{ROW_SELECTOR}}})", "Day elapsed"),
                instant_query(f"sum({PROJECTED})\n/ (sum({BUDGET}) > 0)", "Projected"),
            ],
            "percentunit",
            decimals=0,
            color=NEUTRAL,
            defaults={"min": 0, "max": 1.75},
            no_value="no daily budget",
            overrides=[
                override(
                    "byName",
                    "Projected",
                    color={"mode": "thresholds"},
                    thresholds=good_below((1.2, WARN), (1.75, BAD)),
                )
            ],
        ),
        stat(
            "Projected spend",
            """
            Projected spend at midnight in the time zone of the ad account, by the curve of earlier days, and the daily
            budget. Available once 15 % of the usual spend of a day is reached.
            """,
            (6, 6),
            [instant_query(PROJECTED, "spend {{currency}}"), instant_query(BUDGET_IF_PROJECTED, "budget {{currency}}")],
            "locale",
            overrides=currency_overrides(),
            text_mode="value_and_name",
            color="text",
            text_sizes=(14, 24),
            no_value="needs a day before, and is too early otherwise",
        ),
        table(
            "Thresholds",
            """
            Thresholds of the exporter's config for this campaign, per window. Amounts are in the currency of the
            campaign.
            """,
            (11, 6),
            [
                table_query(f"max by (window) (marketing_messages_{name}_threshold{{{CAMPAIGN_SELECTOR}}})")
                for name in (
                    "max_spend",
                    "min_roas",
                    "max_cost_per_purchase",
                    "max_cost_per_link_click",
                    "min_read_ratio",
                    "applies_above_spend",
                )
            ],
            [
                ("window", "Window", {}),
                ("Value #A", "Max spend", {"custom__width": 90, "decimals": 0}),
                ("Value #B", "Min ROAS", {"custom__width": 90, "unit": "none", "decimals": 2}),
                ("Value #C", "Per purchase", {"custom__width": 110}),
                ("Value #D", "Per click", {"custom__width": 90, "unit": "none", "decimals": 2}),
                ("Value #E", "Min read", {"custom__width": 90, "unit": "percentunit", "decimals": 0}),
                ("Value #F", "Above spend", {"custom__width": 110, "decimals": 0}),
            ],
            join_by="window",
            no_value="",
        ),
    ],
    annotations=[
        annotation(
            "Alerts",
            """
            max by (alertname, severity, campaign_name, window) (
              ALERTS{ALERTS, business=~"$business", campaign_id=~"$campaign"}
            )
            """,
            "{{alertname}}",
            "{{campaign_name}} ({{window}})",
            BAD,
        ),
        annotation(
            "Threshold changed",
            f"""
            changes(marketing_messages_min_roas_threshold{{{ROW_SELECTOR}}}[$__rate_interval]) > 0
            or changes(marketing_messages_max_spend_threshold{{{ROW_SELECTOR}}}[$__rate_interval]) > 0
            """,
            "Threshold changed",
            "{{campaign_name}} ({{window}})",
            NEUTRAL,
        ),
    ],
)
