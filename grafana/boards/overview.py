"""Overview: how do the campaigns do, and does anything need me? For a marketing lead."""
import re

from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB, WINDOW
from panels import (AT_LEAST, BAD, GOOD, HIDDEN, NEAR, PLAIN, annotation, bars, board, clean, column, dashed, lines, money,
                    now, of_limit, over_time, override, stat, steps, table, words)

# Sums by currency. A campaign whose conversions are not known has no place in the ROAS and in the
# cost of a purchase: its spend is left out there.
SPEND = "sum by (currency) (row:marketing_messages_spend:latest{ROWS})"
REVENUE = "sum by (currency) (row:marketing_messages_purchase_value:latest{ROWS})"
SELLING_SPEND = """
    sum by (currency) (
      row:marketing_messages_spend:latest{ROWS}
      and on (business, account_id, campaign_id, adset_id, ad_id) row:marketing_messages_purchases:latest{ROWS}
    )"""
ROAS = f"{REVENUE}\n/ ({SELLING_SPEND.strip()} > 0)"
PURCHASES = "sum(row:marketing_messages_purchases:latest{ROWS})"


def before(expr):
    """The same a day before."""
    return re.sub(r"(\{ROWS[^}]*\})", r"\1 offset 1d", expr)


def change(expr):
    """How much more than a day before, as a ratio."""
    return f"({expr.strip()})\n/ ({before(expr).strip()} > 0)\n- 1"


MORE_IS_GOOD = steps(BAD, (-0.05, "text"), (0.05, GOOD))
NO_DAY_BEFORE = "no day before yet"
# Sizes of name and number in a tile that holds a line for each currency.
BIG, SMALL = (14, 22), (13, 18)

# Of each funnel step, how many. Reads are not counted by Meta: delivered x read ratio.
DELIVERED = "sum(row:marketing_messages_delivered:latest{ROWS})"
READ = """
    sum(
      row:marketing_messages_delivered:latest{ROWS}
      * row:marketing_messages_read_ratio:latest{ROWS}
    )"""
CLICKED = "sum(row:marketing_messages_link_clicks:latest{ROWS})"
CHECKOUTS = "sum(row:marketing_messages_checkouts:latest{ROWS})"
# Clicks of those campaigns alone whose conversions are known.
SELLING_CLICKS = """
    sum(
      row:marketing_messages_link_clicks:latest{ROWS}
      and on (business, account_id, campaign_id, adset_id, ad_id) row:marketing_messages_purchases:latest{ROWS}
    )"""
REGIONS = "Delivered and read leave out Europe and Japan; clicks also Argentina, Turkey and South Korea."

# The return of each campaign divided by its own limit, of those that spent enough to be judged.
NEAREST_ALL = """
      max by (business, campaign_id, campaign_name) (
        (
          row:marketing_messages_roas:latest{ROWS}
          unless on (business, account_id, campaign_id, adset_id, ad_id) row:marketing_messages_below_from_spend:spend{ROWS}
        )
        / ignoring (campaign_name, adset_name, ad_name) group_left ()
          (max without (instance, pod, node, campaign_name, adset_name, ad_name) (marketing_messages_min_roas_threshold{ROWS}) > 0)
      )"""
NEAREST = f"""
    bottomk(12,
{NEAREST_ALL}
    )"""


def each_cost(cost, of):
    """The cost of a message or click over several campaigns, each with its weight."""
    return f"""
    sum by (currency) (
      row:marketing_messages_{cost}:latest{{ROWS}}
      * ignoring (currency) group_left () row:marketing_messages_{of}:latest{{ROWS}}
    )
    / (
      sum by (currency) (
        row:marketing_messages_{cost}:latest{{ROWS}} * 0
        + ignoring (currency) group_left () row:marketing_messages_{of}:latest{{ROWS}}
      ) > 0
    )"""


COST_PER_PURCHASE = f"""
    {SELLING_SPEND.strip()}
    / (
      sum by (currency) (
        row:marketing_messages_spend:latest{{ROWS}} * 0
        + on (business, account_id, campaign_id, adset_id, ad_id) group_left () row:marketing_messages_purchases:latest{{ROWS}}
      ) > 0
    )"""

BOARD = board(
    "marketing-messages-overview", "Overview",
    "How do the campaigns do, and does anything need me? Money is shown in its own currency and never added over currencies.",
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN, WINDOW],
    [
        stat("Alerts firing", """
            Alerts that fire now, for the chosen businesses and for the exporter itself. Listed
            at the end of this board.
            """, (6, 3), [now("""
                count(ALERTS{ALERTS, business=~"$business|"}) or vector(0)
                """, "alerts")], "none", background=True, names="value", letters=(14, 34),
            thresholds=steps(GOOD, (1, BAD))),
        stat("Below their ROAS limit", """
            Campaigns that spent at least from_spend and whose return on ad spend is below the limit
            that the exporter's config sets (min_roas).
            """, (6, 3), [now(f"count({NEAREST_ALL.strip()} < 1) or vector(0)", "campaigns")], "none", names="value",
            letters=(14, 34), thresholds=steps(GOOD, (1, NEAR))),
        stat("Campaigns", """
            Campaigns that have numbers in this window.
            """, (6, 3), [now("count(group by (campaign_id) (row:marketing_messages_spend:latest{ROWS})) or vector(0)",
                              "campaigns")], "none", names="value", letters=(14, 34), fixed="text"),
        stat("Oldest data", """
            How long ago the source that was read least recently was read. Meta refreshes its numbers
            about every 15 minutes.
            """, (6, 3), [now("""
                max(source:marketing_messages_age:seconds{SOURCES, window="$window"})
                """, "age")], "s", decimals=0, names="value", letters=(14, 34),
            thresholds=steps(GOOD, (1800, NEAR), (3600, BAD))),

        stat("Spend · $window", """
            What was spent, by currency, as of the last successful poll. Spend covers every region.
            """, (6, 5), [now(SPEND, "{{currency}}")], "locale", overrides=money(whole=True), letters=BIG),
        stat("Revenue · $window", """
            What purchases on the website brought in, attributed to these campaigns. Estimated by
            Meta, and restated for up to 28 days.
            """, (6, 5), [now(REVENUE, "{{currency}}")], "locale", overrides=money(whole=True), letters=BIG, fixed=GOOD),
        stat("ROAS · $window", """
            Return on ad spend: revenue divided by spend: 2 is twice the money back. Campaigns whose conversions are not
            known count in neither.
            """, (6, 5), [now(ROAS, "{{currency}}")], "suffix: ×", decimals=2, names="value_and_name",
            letters=BIG, fixed="text"),
        stat("Purchases · $window", """
            Purchases on the website that are attributed to these campaigns, of all currencies.
            """, (6, 5), [now(PURCHASES, "purchases")], "locale", decimals=0, fixed="text",
            names="value", letters=(14, 44)),
        stat("Spend vs yesterday", """
            At this time of day, compared with the same time yesterday.
            """, (6, 4), [now(change(SPEND), "{{currency}}")], "percentunit", decimals=0, fixed="text",
            names="value_and_name", letters=SMALL, none=NO_DAY_BEFORE),
        stat("Revenue vs yesterday", """
            At this time of day, compared with the same time yesterday. Green is more than 5 % up, red more than 5 %
            down.
            """, (6, 4), [now(change(REVENUE), "{{currency}}")], "percentunit", decimals=0,
            names="value_and_name", letters=SMALL, thresholds=MORE_IS_GOOD, none=NO_DAY_BEFORE),
        stat("ROAS vs yesterday", """
            Return on ad spend at this time of day, compared with the same time yesterday. Green is more than 5 % up,
            red more than 5 % down.
            """, (6, 4), [now(change(ROAS), "{{currency}}")], "percentunit", decimals=0,
            names="value_and_name", letters=SMALL, thresholds=MORE_IS_GOOD, none=NO_DAY_BEFORE),
        stat("Purchases vs yesterday", """
            At this time of day, compared with the same time yesterday. Green is more than 5 % up, red more than 5 %
            down.
            """, (6, 4), [now(change(PURCHASES), "purchases")], "percentunit", decimals=0, names="value",
            letters=(14, 34), thresholds=MORE_IS_GOOD, none=NO_DAY_BEFORE),
        lines("Spend and revenue · $currency", """
            Spend and attributed revenue through the window, and a day before (dashed). A window
            begins anew at midnight in the time zone of each ad account.
            """, (24, 8), [
                over_time(SPEND.replace("{ROWS}", '{ROWS, currency=~"$currency"}'), "spend {{currency}}"),
                over_time(REVENUE.replace("{ROWS}", '{ROWS, currency=~"$currency"}'), "revenue {{currency}}"),
                over_time(before(SPEND.replace("{ROWS}", '{ROWS, currency=~"$currency"}')), "spend {{currency}}, day before"),
                over_time(before(REVENUE.replace("{ROWS}", '{ROWS, currency=~"$currency"}')), "revenue {{currency}}, day before"),
            ], "locale", overrides=[
                *money(whole=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": PLAIN}),
                override("byRegexp", "/^revenue/", color={"mode": "fixed", "fixedColor": GOOD}),
                dashed("/^spend.*day before/", "light-blue"), dashed("/^revenue.*day before/", "light-green"),
            ], repeat="currency", repeatDirection="h", maxPerRow=4),

        table("ROAS: nearest to the limit", """
            The twelve campaigns whose return is lowest measured by their own limit (min_roas in the
            exporter's config), above the spend from which it counts (from_spend). Red is below the limit, orange less than 20 % above it.
            """, (12, 9), [
                column(NEAREST),
                column(f"max by (campaign_id) (row:marketing_messages_roas:latest{{ROWS}})\nand on (campaign_id)\n{clean(NEAREST)}"),
                column(f"max by (campaign_id) (marketing_messages_min_roas_threshold{{ROWS}})\nand on (campaign_id)\n{clean(NEAREST)}"),
            ], [
                ("campaign_name", "Campaign", {"custom__width": 240, "links": [{
                    "title": "Open the campaign",
                    "url": "/d/marketing-messages-campaign?${datasource:queryparam}&${job:queryparam}&${window:queryparam}"
                           "&var-campaign=${__data.fields.campaign_id}&${__url_time_range}"}]}),
                ("Value #A", "Of limit", of_limit(AT_LEAST, 85)),
                ("Value #B", "ROAS", {"unit": "none", "decimals": 2, "custom__width": 75}),
                ("Value #C", "Limit", {"unit": "none", "decimals": 2, "custom__width": 75}),
                ("business", "Business", {}),
                ("campaign_id", "campaign_id", HIDDEN),
            ], join="campaign_id", sort=("Of limit", False), none=""),
        bars("Funnel · $window", f"""
            From delivered to purchased, all chosen campaigns. {REGIONS} Reads miss people without
            read receipts. Checkouts and purchases are estimated.
            """, (7, 9), [
                now(DELIVERED, "Delivered"), now(READ, "Read"), now(CLICKED, "Clicked"),
                now(CHECKOUTS, "Checkout"), now(PURCHASES, "Purchased"),
            ], "locale", decimals=0, fixed=PLAIN, more={"min": 0}),
        stat("Step rates · $window", """
            Of those who reached a step, how many took the next. Read and clicked are of delivered;
            checkouts of the clicks of campaigns whose conversions are known.
            """, (5, 9), [
                now(f"{READ.strip()}\n/ ({DELIVERED} > 0)", "Read"),
                now(f"{CLICKED}\n/ ({DELIVERED} > 0)", "Clicked"),
                now(f"{CHECKOUTS}\n/ ({SELLING_CLICKS.strip()} > 0)", "Checkout of clicks"),
                now(f"{PURCHASES}\n/ ({CHECKOUTS} > 0)", "Bought of checkouts"),
            ], "percentunit", decimals=1, names="value_and_name", letters=(16, 26), fixed="text"),
        words("Mind the regions", "Which regions the numbers of the funnel leave out.", (24, 3), f"""
            {REGIONS} Spend and purchases cover every region.
            """),

        table("What things cost · $window", """
            Money for one message, click and purchase, by currency, and how much more that is than at
            the same time a day before. Messages and clicks leave out some regions, see above; the
            cost of a purchase counts campaigns whose conversions are known.
            """, (12, 7), [
                column(each_cost("cost_per_delivered", "delivered")),
                column(change(each_cost("cost_per_delivered", "delivered"))),
                column(each_cost("cost_per_link_click", "link_clicks")),
                column(change(each_cost("cost_per_link_click", "link_clicks"))),
                column(COST_PER_PURCHASE),
                column(change(COST_PER_PURCHASE)),
            ], [
                ("currency", "Currency", {"custom__width": 85}),
                ("Value #A", "A message", {"decimals": 4}),
                ("Value #B", "change", {"unit": "percentunit", "decimals": 0, "custom__width": 75}),
                ("Value #C", "A click", {"decimals": 3}),
                ("Value #D", "change ", {"unit": "percentunit", "decimals": 0, "custom__width": 75}),
                ("Value #E", "A purchase", {"decimals": 2}),
                ("Value #F", "change  ", {"unit": "percentunit", "decimals": 0, "custom__width": 75}),
            ], join="currency", none=""),
        table("Alerts firing now", """
            What fires for the chosen businesses, and for the exporter itself. The runbook of each
            alert says what to do.
            """, (12, 7), [
                column("""
                    max by (severity, alertname, business, campaign_name, window) (
                      ALERTS{ALERTS, business=~"$business|"}
                    )
                    """),
            ], [
                ("severity", "Severity", {"custom__width": 90, "custom__cellOptions": {"type": "color-text"}, "mappings": [
                    {"type": "value", "options": {
                        "critical": {"color": BAD, "index": 0}, "warning": {"color": NEAR, "index": 1},
                        "info": {"color": PLAIN, "index": 2}}}]}),
                ("alertname", "Alert", {"custom__width": 240, "mappings": [
                    {"type": "regex", "options": {"pattern": "MarketingMessages(.+)", "result": {"text": "$1", "index": 0}}}]}),
                ("business", "Business", {"custom__width": 100}),
                ("campaign_name", "Campaign", {}),
                ("window", "Window", {"custom__width": 90}),
            ], sort=("Severity", False), none="", unit="none"),
    ],
    annotations=[annotation(
        "Alerts", """
            max by (alertname, severity, business, campaign_name) (
              ALERTS{ALERTS, business=~"$business", campaign_id=~"$campaign"}
            )
            """, "{{alertname}}", "{{campaign_name}} ({{business}})", BAD)],
)
