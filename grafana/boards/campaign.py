"""Campaign: how does this one do, through the day and against its limits?"""
from boards.variables import BUSINESS, JOB, ONE_CAMPAIGN, WINDOW
from panels import (BAD, GOOD, NEAR, PLAIN, annotation, bars, board, column, dashed, lines,
                    money, now, over_time, override, row, stat, steps, table)

ONE = 'job="$job", business=~"$business", campaign_id=~"$campaign", window="$window"'
HERE = 'job="$job", business=~"$business", campaign_id=~"$campaign"'


def one(metric):
    return f"sum(row:marketing_messages_{metric}:latest{{{ONE}}})"


def in_money(metric):
    return f"sum by (currency) (row:marketing_messages_{metric}:latest{{{ONE}}})"


def limit(name):
    return f"max(marketing_messages_{name}_threshold{{{ONE}}})"


def in_its_money(expr):
    """A number of money that has no currency label gets the campaign's."""
    return f"""
    {expr}
    * on () group_left (currency)
      topk(1, max by (currency) (marketing_messages_campaign_info{{{HERE}}}))"""


SPEND, REVENUE = in_money("spend"), in_money("purchase_value")
ROAS = f"{one('purchase_value')}\n/ ({one('spend')} > 0)"
READ = f"""
    sum(
      row:marketing_messages_delivered:latest{{{ONE}}}
      * row:marketing_messages_read_ratio:latest{{{ONE}}}
    )"""
BUDGET = f"sum by (currency) (max without (instance, pod, node, campaign_name) (marketing_messages_campaign_daily_budget{{{HERE}}}))"
PROJECTED = f"sum by (currency) (campaign:marketing_messages_projected_spend:sum{{{ONE}}})"


def each(of):
    return f"{SPEND}\n/ on () group_left () ({one(of)} > 0)"


def weighted(cost, of):
    """Meta's own cost of a message or a click, which counts the same regions in both."""
    return f"""
    sum by (currency) (
      row:marketing_messages_{cost}:latest{{{ONE}}}
      * ignoring (currency) group_left () row:marketing_messages_{of}:latest{{{ONE}}}
    )
    / on () group_left () ({one(of)} > 0)"""


BOARD = board(
    "marketing-messages-campaign", "Campaign",
    "How one campaign does: through the day, against its limits, and whether its budget will last.",
    [JOB, BUSINESS, ONE_CAMPAIGN, WINDOW],
    [
        row("$campaign"),
        stat("Spend · $window", "What was spent as of the last successful poll.", (8, 3),
             [now(SPEND, "{{currency}}")], "locale", overrides=money(), names="value", letters=(14, 30)),
        stat("Revenue · $window", """
            What attributed purchases on the website brought in. Estimated, and restated for 28 days.
            """, (8, 3), [now(REVENUE, "{{currency}}")], "locale", overrides=money(), names="value", fixed=GOOD,
             letters=(14, 30), none="not known"),
        stat("ROAS · $window", """
            Return on ad spend: revenue divided by spend, and the limit that the exporter's config sets (min_roas).
            """, (8, 3), [now(ROAS, "now"), now(limit("min_roas"), "limit")], "suffix: ×", decimals=2,
             names="value_and_name", fixed="text", letters=(13, 18), none="not known"),
        stat("Purchases · $window", "Attributed purchases on the website. Estimated.", (8, 3),
             [now(one("purchases"))], "locale", decimals=0, names="value", fixed="text", letters=(14, 30),
             none="not known"),
        stat("Cost a purchase · $window", """
            Spend divided by purchases, and the limit that the exporter's config sets
            (max_cost_per_purchase).
            """, (8, 3), [now(each("purchases"), "now {{currency}}"),
                          now(in_its_money(limit("max_cost_per_purchase")), "limit {{currency}}")],
             "locale", decimals=2, overrides=money(), names="value_and_name", fixed="text", letters=(13, 18),
             none="nothing sold"),
        stat("Status", "What Meta says about the campaign (effective_status), and how old its numbers are.", (8, 3), [
                now(f"topk(1, max by (status) (marketing_messages_campaign_info{{{HERE}}}))", "{{status}}"),
             ], "none", names="name", fixed="text", letters=(24, 24)),

        lines("ROAS against its limit · $window", """
            Return on ad spend: revenue divided by spend through the time shown. The dashed red line is min_roas of the
            exporter's config; a day before is dashed grey. Early in a day there is little to go by.
            """, (12, 8), [
                over_time(ROAS, "ROAS"),
                over_time(limit("min_roas"), "limit"),
                over_time(ROAS.replace("})", "} offset 1d)"), "a day before"),
            ], "none", decimals=2, overrides=[
                override("byName", "ROAS", color={"mode": "fixed", "fixedColor": PLAIN}),
                dashed("/^limit/", BAD, 2), dashed("/before/"),
            ]),
        lines("Spend against limit and budget · $window", """
            Spend through the time shown, the limit of the exporter's config (max_spend, dashed red),
            the daily budget in the Ads Manager (dashed orange), and a day before (dashed grey).
            """, (12, 8), [
                over_time(SPEND, "spend {{currency}}"),
                over_time(in_its_money(limit("max_spend")), "limit {{currency}}"),
                over_time(f"""
                    {BUDGET}
                    and on () campaign:marketing_messages_day_passed:ratio{{{ONE}}}
                    """, "daily budget {{currency}}"),
                over_time(SPEND.replace("})", "} offset 1d)"), "a day before {{currency}}"),
            ], "locale", overrides=[
                *money(whole=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": PLAIN}),
                dashed("/^limit/", BAD, 2), dashed("/^daily budget/", NEAR), dashed("/before/"),
            ]),

        bars("Funnel · $window", """
            From delivered to purchased. Delivered and read leave out Europe and Japan; clicks also
            Argentina, Turkey and South Korea. Checkouts and purchases are estimated.
            """, (9, 8), [
                now(one("delivered"), "Delivered"), now(READ, "Read"), now(one("link_clicks"), "Clicked"),
                now(one("checkouts"), "Checkout"), now(one("purchases"), "Purchased"),
            ], "locale", decimals=0, fixed=PLAIN, more={"min": 0}),
        stat("Step rates · $window", """
            Of those who reached a step, how many took the next. Read and clicked are of delivered.
            """, (7, 8), [
                now(f"{READ.strip()}\n/ ({one('delivered')} > 0)", "Read"),
                now(f"{one('link_clicks')}\n/ ({one('delivered')} > 0)", "Clicked"),
                now(f"{one('checkouts')}\n/ ({one('link_clicks')} > 0)", "Checkout of clicks"),
                now(f"{one('purchases')}\n/ ({one('checkouts')} > 0)", "Bought of checkouts"),
            ], "percentunit", decimals=1, names="value_and_name", fixed="text", letters=(16, 26)),
        stat("What a step costs · $window", """
            A message and a click as Meta counts them, over the regions that it counts; a checkout and
            a purchase of all that was spent.
            """, (8, 8), [
                now(weighted("cost_per_delivered", "delivered"), "a message {{currency}}"),
                now(weighted("cost_per_link_click", "link_clicks"), "a click {{currency}}"),
                now(each("checkouts"), "a checkout {{currency}}"),
                now(each("purchases"), "a purchase {{currency}}"),
            ], "locale", decimals=4, overrides=[
                *money(small=True),
                override("byRegexp", "/checkout|purchase/", decimals=2),
            ], names="value_and_name", fixed="text", letters=(16, 26)),

        bars("Budget of the day", """
            How much of the daily budget is spent, how much of the ad account's day has passed, and
            how much of the budget will be spent by midnight if it goes on like this. Only for windows
            of one day that is now. Meta may pass a day's budget by 75 % and makes up for it within
            the week.
            """, (9, 6), [
                now(f"""
                    ({one("spend")} and on () campaign:marketing_messages_day_passed:ratio{{{ONE}}})
                    / on () (sum({BUDGET}) > 0)
                    """, "Spent"),
                now(f"max(campaign:marketing_messages_day_passed:ratio{{{ONE}}})", "Day passed"),
                now(f"sum({PROJECTED})\n/ (sum({BUDGET}) > 0)", "By midnight"),
            ], "percentunit", decimals=0, fixed=PLAIN, more={"min": 0, "max": 1.25},
             none="no budget of the day",
             overrides=[override("byName", "By midnight", color={"mode": "thresholds"},
                                 thresholds=steps(GOOD, (1, NEAR), (1.25, BAD)))]),
        stat("Projected end of day", """
            What will have been spent by midnight in the ad account's time zone if it goes on like
            this, and the daily budget. From a quarter of the day on.
            """, (5, 6), [now(PROJECTED, "spend {{currency}}"), now(BUDGET, "budget {{currency}}")],
             "locale", overrides=money(), names="value_and_name", fixed="text", letters=(14, 24),
             none="too early in the day"),
        table("Limits in force", """
            What the exporter's config limits for this campaign, in every window. Money is in the
            campaign's currency.
            """, (10, 6), [
                column(f"max by (window) (marketing_messages_{name}_threshold{{{HERE}}})")
                for name in ("max_spend", "min_roas", "max_cost_per_purchase", "max_cost_per_link_click",
                             "min_read_ratio", "from_spend")
            ], [
                ("window", "Window", {}),
                ("Value #A", "Spend", {"custom__width": 90, "decimals": 0}),
                ("Value #B", "ROAS", {"custom__width": 90, "unit": "none", "decimals": 2}),
                ("Value #C", "A purchase", {"custom__width": 90, }),
                ("Value #D", "A click", {"custom__width": 90, "unit": "none", "decimals": 2}),
                ("Value #E", "Read", {"custom__width": 90, "unit": "percentunit", "decimals": 0}),
                ("Value #F", "From spend", {"custom__width": 100, "decimals": 0}),
            ], join="window", none=""),
    ],
    annotations=[
        annotation("Alerts", f"""
            max by (alertname, severity, campaign_name, window) (
              ALERTS{{ALERTS, business=~"$business", campaign_id=~"$campaign"}}
            )
            """, "{{alertname}}", "{{campaign_name}} ({{window}})", BAD),
        annotation("Limit changed", f"""
            changes(marketing_messages_min_roas_threshold{{{ONE}}}[$__interval]) > 0
            or changes(marketing_messages_max_spend_threshold{{{ONE}}}[$__interval]) > 0
            """, "Limit changed", "{{campaign_name}} ({{window}})", PLAIN),
    ],
)
