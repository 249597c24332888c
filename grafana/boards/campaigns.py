"""Campaigns board: all campaigns, compared with each other and with their own thresholds."""

from boards.totals import CAMPAIGN_COUNT, CAMPAIGN_IDS, IN_CURRENCY, currency_table, last_week, selected
from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB, MIN_SPEND, WINDOW
from panels import (
    BAD,
    GOOD,
    HIDDEN,
    NEUTRAL,
    RATIO_TO_MAX,
    RATIO_TO_MIN,
    WARN,
    annotation,
    bar_gauge,
    dashboard,
    good_below,
    instant_query,
    stat,
    steps,
    table,
    table_query,
    threshold_ratio,
)

CAMPAIGN_LINK = {
    "title": "Open campaign",
    "url": "/d/marketing-messages-campaign?${datasource:queryparam}&${job:queryparam}&${window:queryparam}"
    "&var-business=${__data.fields.business}&var-campaign=${__data.fields.campaign_id}&${__url_time_range}",
}


def per_campaign(metric):
    """Value per campaign. At levels `adset` and `ad`, the sum over its ad sets or ads; at level `account`, of the ad account."""
    return f"sum by ({CAMPAIGN_IDS}) ({selected(metric)})"


def amount(metric):
    return f"sum by ({CAMPAIGN_IDS}) (row:marketing_messages_{metric}:latest{{ROWS, {IN_CURRENCY}}})"


def threshold(name):
    return f"max by ({CAMPAIGN_IDS}) (marketing_messages_{name}_threshold{{ROWS}})"


SPEND, REVENUE, PURCHASES = amount("spend"), amount("purchase_value"), per_campaign("purchases")
ROAS = f"{REVENUE}\n/ ({SPEND} > 0)"
COST_PER_PURCHASE = f"{SPEND}\n/ ({PURCHASES} > 0)"
READ_RATIO = f"""
    sum by ({CAMPAIGN_IDS}) (row:marketing_messages_read_ratio:latest{{ROWS}} * {selected("delivered")})
    / ({per_campaign("delivered")} > 0)"""
CLICK_RATIO = f"{per_campaign('link_clicks')}\n/ ({per_campaign('delivered')} > 0)"
BUDGET_USED = f"""
    sum by ({CAMPAIGN_IDS}) (
      row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}}}
      and on (job, business, account_id, campaign_id, window) campaign:marketing_messages_day_passed:ratio
    )
    / (max by ({CAMPAIGN_IDS}) (marketing_messages_campaign_daily_budget{{CAMPAIGNS}}) > 0)"""
# Up to applies_above_spend, only max_spend applies.
ABOVE_MIN_SPEND = f"unless on ({CAMPAIGN_IDS}) row:marketing_messages_spend:below_minimum{{ROWS}}"

# Campaigns with enough spend for comparisons of ROAS: more than their applies_above_spend and, because not every campaign has
# one, a tenth of the mean spend per campaign in their currency. Spend has the currency of its campaign, so that one
# limit fits every currency.
NAMED = f"{CAMPAIGN_IDS}, campaign_name, currency"
NAMED_SPEND = f"sum by ({NAMED}) (row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}}})"
ENOUGH_SPEND = f"""
      {NAMED_SPEND}
      >= on (currency) group_left () 0.1 * avg by (currency) ({NAMED_SPEND})
      unless on ({CAMPAIGN_IDS}) row:marketing_messages_spend:below_minimum{{ROWS}}"""
NAMED_ROAS = f"""
    (
      sum by ({NAMED}) (row:marketing_messages_purchase_value:latest{{ROWS, {IN_CURRENCY}}})
      / (
        ({ENOUGH_SPEND.strip()}) >= $min_spend > 0
      )
    )"""
# Half of the campaigns are candidates of each list, so that no campaign is on both.
UPPER_HALF = f"{NAMED_ROAS.strip()}\n>= on () group_left () quantile(0.5, {NAMED_ROAS.strip()})"
LOWER_HALF = f"{NAMED_ROAS.strip()}\n< on () group_left () quantile(0.5, {NAMED_ROAS.strip()})"
ROAS_LAST_WEEK = last_week(ROAS)
ROAS_CHANGE = f"""
    ({ROAS})
    / (({ROAS_LAST_WEEK}) > 0)
    - 1
    and on ({CAMPAIGN_IDS}) ({ENOUGH_SPEND.strip()}) >= $min_spend"""
# More falls than rises, because falls need action.
LARGEST_CHANGES = f"(bottomk(8, {ROAS_CHANGE.strip()}) < 0) or (topk(4, {ROAS_CHANGE.strip()}) > 0)"

GAUGE = {"custom__cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}}
NAME_COLUMN = ("campaign_name", "Campaign", {"custom__minWidth": 200, "links": [CAMPAIGN_LINK]})
ID_COLUMN = ("campaign_id", "campaign_id", HIDDEN)


def by_key(expr):
    """Column of a table. The rows are joined by one label: the same ad account can belong to two businesses."""
    return table_query(f"""
    max by (key) (
      label_join(
        {expr.strip()},
        "key", " ", "business", "account_id", "campaign_id"
      )
    )""")


# Names and currencies of all rows, also of those without amounts because their ad account cannot be read.
NAMES = f"""
        group by ({NAMED}) (row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}, campaign_id!=""}})
        or on ({CAMPAIGN_IDS})
        label_replace(
          group by ({NAMED}) (row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}, campaign_id=""}}),
          "campaign_name", "all of ad account $1", "account_id", "(.+)"
        )
        or on ({CAMPAIGN_IDS})
        group by ({CAMPAIGN_IDS}, campaign_name) ({selected("delivered")})"""
STATUS = f"""
          group by ({CAMPAIGN_IDS}, status) (
            topk by ({CAMPAIGN_IDS}) (1, marketing_messages_campaign_info{{CAMPAIGNS}})
          )"""
CAMPAIGN_INFO = table_query(f"""
    label_join(
        (
          ({NAMES.strip()})
          * on ({CAMPAIGN_IDS}) group_left (status)
          {STATUS.strip()}
        )
      or on ({CAMPAIGN_IDS})
        ({NAMES.strip()}),
      "key", " ", "business", "account_id", "campaign_id"
    )
    """)

BOARD = dashboard(
    "marketing-messages-campaigns",
    "Campaigns",
    "All campaigns, compared with each other and with their own thresholds.",
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN, WINDOW, MIN_SPEND],
    [
        stat(
            "Campaigns",
            """
            Number of campaigns with data in this window.
            """,
            (8, 3),
            [instant_query(CAMPAIGN_COUNT)],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            color="text",
        ),
        stat(
            "Above max spend",
            """
            Number of campaigns with spend above max_spend in this window.
            """,
            (8, 3),
            [instant_query(f"count({SPEND} > on ({CAMPAIGN_IDS}) {threshold('max_spend')}) or vector(0)")],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, BAD)),
        ),
        stat(
            "Below min ROAS",
            """
            Number of campaigns with spend above applies_above_spend and a return on ad spend below min_roas in
            this window.
            """,
            (8, 3),
            [
                instant_query(
                    f"count(({ROAS}) < on ({CAMPAIGN_IDS}) {threshold('min_roas')} {ABOVE_MIN_SPEND}) or vector(0)"
                )
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, WARN)),
        ),
        stat(
            "Conversions withheld",
            """
            Number of campaigns for which Meta withholds purchases and revenue, because their ad sets have different
            attribution settings. With insights.level: adset in the exporter's config, the values are available.
            """,
            (8, 3),
            [
                instant_query("""
                count(group by (business, account_id, campaign_id) (marketing_messages_exporter_rows_withheld{ROWS, reason!="dates"} == 1)) or vector(0)
                """)
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, WARN)),
        ),
        stat(
            "Date mismatch",
            """
            Number of campaigns for which Meta ignores the requested dates and returns lifetime values, because they are
            older than the API's date support. The boards exclude them from all values.
            """,
            (8, 3),
            [
                instant_query("""
                count(group by (business, account_id, campaign_id) (marketing_messages_exporter_rows_withheld{ROWS, reason="dates"} == 1)) or vector(0)
                """)
            ],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, WARN)),
        ),
        stat(
            "Oldest data",
            """
            Time since the last successful poll of the least recently polled source.
            """,
            (8, 3),
            [instant_query('max(source:marketing_messages_age:seconds{SOURCES, window="$window"})')],
            "s",
            decimals=1,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1800, WARN), (3600, BAD)),
        ),
        table(
            "All campaigns · $window",
            """
            Values and their percentage of the campaign's own threshold (max_* or min_*). Red: threshold violated.
            Orange: close to the threshold. Empty: no threshold configured, or spend up to applies_above_spend. Amounts
            are in the currency of the row. Reads and clicks exclude Europe, Japan and other regions; spend includes all
            regions. Click a name to open the campaign.
            """,
            (24, 15),
            [
                CAMPAIGN_INFO,
                by_key(SPEND),
                by_key(f"{SPEND}\n/ on ({CAMPAIGN_IDS}) ({threshold('max_spend')} > 0)"),
                by_key(BUDGET_USED),
                by_key(REVENUE),
                by_key(ROAS),
                by_key(f"{ROAS}\n/ on ({CAMPAIGN_IDS}) ({threshold('min_roas')} > 0)\n{ABOVE_MIN_SPEND}"),
                by_key(PURCHASES),
                by_key(COST_PER_PURCHASE),
                by_key(
                    f"{COST_PER_PURCHASE}\n/ on ({CAMPAIGN_IDS}) ({threshold('max_cost_per_purchase')} > 0)\n"
                    f"{ABOVE_MIN_SPEND}"
                ),
                by_key(READ_RATIO),
                by_key(
                    f"{READ_RATIO.strip()}\n/ on ({CAMPAIGN_IDS}) ({threshold('min_read_ratio')} > 0)\n{ABOVE_MIN_SPEND}"
                ),
                by_key(CLICK_RATIO),
                by_key(per_campaign("delivered")),
                by_key(per_campaign("link_clicks")),
            ],
            [
                NAME_COLUMN,
                ("business", "Business", {"custom__width": 90}),
                ("currency", "Currency", {"custom__width": 75}),
                # First what is judged, so that it is visible on narrow screens.
                ("Value #F", "ROAS", {"unit": "none", "decimals": 2, "custom__width": 60}),
                ("Value #G", "% of min", threshold_ratio(RATIO_TO_MIN, 75)),
                ("Value #B", "Spend", {"decimals": 0, "custom__width": 85}),
                ("Value #C", "% of max", threshold_ratio(RATIO_TO_MAX, 80)),
                ("status", "Status", {"custom__width": 80}),
                (
                    "Value #D",
                    "Budget",
                    {
                        "unit": "percentunit",
                        "decimals": 0,
                        "min": 0,
                        "max": 1,
                        "color": {"mode": "fixed", "fixedColor": NEUTRAL},
                        "custom__width": 85,
                        **GAUGE,
                    },
                ),
                ("Value #E", "Revenue", {"decimals": 0, "custom__width": 90}),
                ("Value #H", "Orders", {"decimals": 0, "custom__width": 60}),
                ("Value #I", "CPA", {"decimals": 2, "custom__width": 80}),
                ("Value #J", "% of max ", threshold_ratio(RATIO_TO_MAX, 80)),
                ("Value #N", "Delivered", {"decimals": 0, "custom__width": 85}),
                ("Value #K", "Read", {"unit": "percentunit", "decimals": 0, "custom__width": 55}),
                ("Value #L", "% of min ", threshold_ratio(RATIO_TO_MIN, 75)),
                ("Value #O", "Clicks", {"decimals": 0, "custom__width": 70}),
                ("Value #M", "CTR", {"unit": "percentunit", "decimals": 1, "custom__width": 60}),
                ID_COLUMN,
                ("key", "key", HIDDEN),
            ],
            join_by="key",
            sort_by=[("Currency", False), ("Spend", True)],
            filterable=True,
            no_value="no campaign has data in this window",
        ),
        currency_table((24, 8)),
        bar_gauge(
            "Highest ROAS · $window",
            """
            Up to ten campaigns with the highest return on ad spend, from the better half of those with enough spend: more than
            applies_above_spend, a tenth of the mean spend per campaign in their currency, and the minimum at the top.
            """,
            (12, 13),
            [instant_query(f"sort_desc(topk(10, {UPPER_HALF}))", "{{campaign_name}} · {{business}}")],
            "suffix:×",
            decimals=2,
            color=GOOD,
            defaults={"min": 0},
            name_placement="top",
            no_value="no campaign has enough spend yet",
        ),
        bar_gauge(
            "Lowest ROAS · $window",
            """
            Up to ten campaigns with the lowest return on ad spend, from the other half of the campaigns with enough spend. No
            campaign is in both lists.
            """,
            (12, 13),
            [instant_query(f"sort(bottomk(10, {LOWER_HALF}))", "{{campaign_name}} · {{business}}")],
            "suffix:×",
            decimals=2,
            color=WARN,
            defaults={"min": 0},
            name_placement="top",
            no_value="no other campaign has enough spend",
        ),
        table(
            "Largest changes of ROAS since last week",
            """
            The largest falls and rises of the return on ad spend since the same time a week before, relative to the value of
            then, among the campaigns with enough spend (see above). Falls come first.
            """,
            (24, 9),
            [
                CAMPAIGN_INFO,
                # The inner join selects the rows of the other columns, which costs less CPU time than the same condition in each.
                by_key(LARGEST_CHANGES),
                by_key(ROAS),
                by_key(ROAS_LAST_WEEK),
                by_key(SPEND),
            ],
            [
                ("campaign_name", "Campaign", {"custom__minWidth": 200, "links": [CAMPAIGN_LINK]}),
                ("business", "Business", {"custom__minWidth": 110}),
                (
                    "Value #B",
                    "Change",
                    {
                        "unit": "percentunit",
                        "decimals": 0,
                        "custom__width": 100,
                        "color": {"mode": "thresholds"},
                        "custom__cellOptions": {"type": "color-text"},
                        "thresholds": steps("text", (-1000, BAD), (0, GOOD)),
                    },
                ),
                ("Value #C", "ROAS", {"unit": "suffix:×", "decimals": 2, "custom__width": 100}),
                ("Value #D", "Last week", {"unit": "suffix:×", "decimals": 2, "custom__width": 100}),
                ("Value #E", "Spend", {"decimals": 0, "custom__width": 120}),
                ("currency", "Currency", {"custom__width": 90}),
                ID_COLUMN,
                ("key", "key", HIDDEN),
            ],
            join_by="key",
            join_mode="inner",
            sort_by=("Change", False),
            no_value="no campaign has enough spend now and a week ago",
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
