"""Campaigns: which ones do well, which do not? All of them, each against its own limits."""
from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB, MIN_SPEND, WINDOW
from panels import (AT_LEAST, AT_MOST, BAD, GOOD, HIDDEN, NEAR, PLAIN, annotation, bars, board, column, now, of_limit,
                    stat, steps, table)

OPEN = {"title": "Open the campaign",
        "url": "/d/marketing-messages-campaign?${datasource:queryparam}&${job:queryparam}&${window:queryparam}"
               "&var-campaign=${__data.fields.campaign_id}&${__url_time_range}"}


def of_campaign(metric):
    """A number of each campaign, also where the exporter divides it by ad sets or ads."""
    return f"sum by (campaign_id) (row:marketing_messages_{metric}:latest{{ROWS}})"


def limit(name):
    return f"max by (campaign_id) (marketing_messages_{name}_threshold{{ROWS}})"


SPEND, REVENUE, PURCHASES = of_campaign("spend"), of_campaign("purchase_value"), of_campaign("purchases")
ROAS = f"{REVENUE}\n/ ({SPEND} > 0)"
COST_PER_PURCHASE = f"{SPEND}\n/ ({PURCHASES} > 0)"
READ_RATIO = f"""
    sum by (campaign_id) (row:marketing_messages_read_ratio:latest{{ROWS}} * row:marketing_messages_delivered:latest{{ROWS}})
    / ({of_campaign("delivered")} > 0)"""
CLICK_RATIO = f"{of_campaign('link_clicks')}\n/ ({of_campaign('delivered')} > 0)"
BUDGET_USED = """
    sum by (campaign_id) (
      row:marketing_messages_spend:latest{ROWS}
      and on (job, business, account_id, campaign_id, window) campaign:marketing_messages_day_passed:ratio
    )
    / (max by (campaign_id) (marketing_messages_campaign_daily_budget{CAMPAIGNS}) > 0)"""
# Below from_spend only the limit on spend counts.
JUDGED = "unless on (campaign_id) row:marketing_messages_below_from_spend:spend{ROWS}"

NAMED_ROAS = """
    (
      sum by (business, campaign_id, campaign_name) (row:marketing_messages_purchase_value:latest{ROWS})
      / (sum by (business, campaign_id, campaign_name) (row:marketing_messages_spend:latest{ROWS} >= $min_spend) > 0)
    )"""
MOVED = f"""
    {ROAS}
    - (
      {ROAS.replace("{ROWS}", "{ROWS} offset 1d")}
    )
    and on (campaign_id) sum by (campaign_id) (row:marketing_messages_spend:latest{{ROWS}}) >= $min_spend"""
MOST = f"topk(10, abs({MOVED.strip()}))"

GAUGE = {"custom__cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}}
NAME = ("campaign_name", "Campaign", {"custom__width": 270, "links": [OPEN]})
ID = ("campaign_id", "campaign_id", HIDDEN)
NAMES = column("""
    max by (campaign_id, campaign_name, business, status, currency) (
      topk by (campaign_id) (1, marketing_messages_campaign_info{CAMPAIGNS})
      and on (campaign_id) row:marketing_messages_spend:latest{ROWS}
    )
    """)

BOARD = board(
    "marketing-messages-campaigns", "Campaigns",
    "Which campaigns do well and which do not, each against its own limits.",
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN, WINDOW, MIN_SPEND],
    [
        stat("Campaigns with numbers", """
            Campaigns that have numbers in this window.
            """, (8, 3), [now("count(group by (campaign_id) (row:marketing_messages_spend:latest{ROWS})) or vector(0)")],
             "none", names="value", letters=(14, 30), fixed="text"),
        stat("Above their spend limit", """
            Campaigns that spent more than max_spend allows in this window.
            """, (8, 3), [now(f"count({SPEND} > on (campaign_id) {limit('max_spend')}) or vector(0)")],
             "none", names="value", letters=(14, 30), thresholds=steps(GOOD, (1, BAD))),
        stat("Below their ROAS limit", """
            Campaigns that spent at least from_spend and whose return on ad spend is below min_roas
            in this window.
            """, (8, 3), [now(f"count(({ROAS}) < on (campaign_id) {limit('min_roas')} {JUDGED}) or vector(0)")],
             "none", names="value", letters=(14, 30), thresholds=steps(GOOD, (1, NEAR))),
        stat("Conversions withheld", """
            Campaigns whose purchases and revenue Meta keeps back, since their ad sets have different
            attribution settings. insights.level: adset in the exporter's config shows them.
            """, (8, 3), [now("""
                count(group by (campaign_id) (marketing_messages_exporter_conversions_withheld{ROWS} == 1)) or vector(0)
                """)], "none", names="value", letters=(14, 30), thresholds=steps(GOOD, (1, NEAR))),
        stat("Answered for other dates", """
            Campaigns that are older than Meta's support of dates: it answers for their whole life,
            whatever is asked. They are left out of every number on these boards.
            """, (8, 3), [now("""
                count(group by (campaign_id) (campaign:marketing_messages_other_dates:seconds{ROWS})) or vector(0)
                """)], "none", names="value", letters=(14, 30), thresholds=steps(GOOD, (1, NEAR))),
        stat("Oldest data", """
            How long ago the source that was read least recently was read.
            """, (8, 3), [now('max(source:marketing_messages_age:seconds{SOURCES, window="$window"})')],
             "s", decimals=0, names="value", letters=(14, 30), thresholds=steps(GOOD, (1800, NEAR), (3600, BAD))),

        table("All campaigns · $window", """
            Each number beside what it is of the campaign's own limit: red is past the limit, orange
            near it; empty where the config sets none, or where less than from_spend was spent. Money
            is in the currency of the row. Reads and clicks leave out Europe, Japan and other regions,
            spend does not. A name opens the campaign.
            """, (24, 15), [
                NAMES,
                column(SPEND),
                column(f"{SPEND}\n/ on (campaign_id) ({limit('max_spend')} > 0)"),
                column(BUDGET_USED),
                column(REVENUE),
                column(ROAS),
                column(f"{ROAS}\n/ on (campaign_id) ({limit('min_roas')} > 0)\n{JUDGED}"),
                column(PURCHASES),
                column(COST_PER_PURCHASE),
                column(f"{COST_PER_PURCHASE}\n/ on (campaign_id) ({limit('max_cost_per_purchase')} > 0)\n{JUDGED}"),
                column(READ_RATIO),
                column(f"{READ_RATIO.strip()}\n/ on (campaign_id) ({limit('min_read_ratio')} > 0)\n{JUDGED}"),
                column(CLICK_RATIO),
            ], [
                NAME,
                ("business", "Business", {"custom__width": 95}),
                ("status", "Status", {"custom__width": 90}),
                ("currency", "Money", {"custom__width": 65}),
                ("Value #B", "Spend", {"decimals": 0, "custom__width": 115}),
                ("Value #C", "of limit", of_limit(AT_MOST, 75)),
                ("Value #D", "Budget", {"unit": "percentunit", "decimals": 0, "min": 0, "max": 1,
                                        "color": {"mode": "fixed", "fixedColor": PLAIN}, "custom__width": 110, **GAUGE}),
                ("Value #E", "Revenue", {"decimals": 0, "custom__width": 120}),
                ("Value #F", "ROAS", {"unit": "none", "decimals": 2, "custom__width": 75}),
                ("Value #G", "of limit ", of_limit(AT_LEAST, 75)),
                ("Value #H", "Purchases", {"decimals": 0, "custom__width": 95}),
                ("Value #I", "Each", {"decimals": 2, "custom__width": 90}),
                ("Value #J", "of limit  ", of_limit(AT_MOST, 75)),
                ("Value #K", "Read", {"unit": "percentunit", "decimals": 0, "custom__width": 65}),
                ("Value #L", "of limit   ", of_limit(AT_LEAST, 75)),
                ("Value #M", "Clicked", {"unit": "percentunit", "decimals": 1, "custom__width": 80}),
                ID,
            ], join="campaign_id", sort=("Spend", True), none=""),

        bars("Best ten by ROAS", """
            Return on ad spend of the best ten that spent at least the minimum spend.
            """, (8, 10), [now(f"sort_desc(topk(10, {NAMED_ROAS.strip()}))", "{{campaign_name}}")],
             "suffix: ×", decimals=2, fixed=GOOD, more={"min": 0}),
        bars("Worst ten by ROAS", """
            Return on ad spend of the worst ten that spent at least the minimum spend.
            """, (8, 10), [now(f"sort(bottomk(10, {NAMED_ROAS.strip()}))", "{{campaign_name}}")],
             "suffix: ×", decimals=2, fixed=NEAR, more={"min": 0}),
        table("Biggest movers by ROAS", """
            The ten whose return on ad spend differs most from the same time a day before, of those
            that spent at least the minimum spend.
            """, (8, 10), [
                NAMES,
                column(f"({MOVED.strip()})\nand on (campaign_id)\n{MOST}"),
                column(f"{ROAS}\nand on (campaign_id)\n{MOST}"),
            ], [
                ("campaign_name", "Campaign", {"custom__width": 210, "links": [OPEN]}),
                ("Value #C", "ROAS", {"unit": "none", "decimals": 2, "custom__width": 80}),
                ("Value #B", "Change", {"unit": "none", "decimals": 2, "custom__width": 90, "color": {"mode": "thresholds"},
                                        "custom__cellOptions": {"type": "color-text"},
                                        "thresholds": steps(BAD, (0, GOOD))}),
                ID,
            ], join="campaign_id", sort=("Change", True), none=""),
    ],
    annotations=[annotation(
        "Alerts", """
            max by (alertname, severity, business, campaign_name) (
              ALERTS{ALERTS, business=~"$business", campaign_id=~"$campaign"}
            )
            """, "{{alertname}}", "{{campaign_name}} ({{business}})", BAD)],
)
