"""Sums by currency that several boards show, of the rows that their variables select."""

import re

from panels import BAD, GOOD, steps, table, table_query

ROW = "business, account_id, campaign_id, adset_id, ad_id"
IN_CURRENCY = 'currency=~"$currency"'
PER_CURRENCY = "currency"


def last_week(expr):
    """The same query at the same time a week before."""
    return re.sub(r"(\{ROWS[^}]*\})", r"\1 offset 1w", expr)


def money(metric, by=PER_CURRENCY):
    return f"sum by ({by}) (row:marketing_messages_{metric}:latest{{ROWS, {IN_CURRENCY}}})"


def selected(metric):
    """Values of rows in the selected currencies, and of rows with unknown currency."""
    return (
        f"(row:marketing_messages_{metric}:latest{{ROWS}}\n"
        f'      unless on ({ROW}) row:marketing_messages_spend:latest{{ROWS, currency!~"$currency"}})'
    )


def counts(metric, by=PER_CURRENCY):
    """Sum of counts per currency. The currency of a row is that of its spend."""
    return f"""
    sum by ({by}) (
      row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}}} * 0
      + on ({ROW}) group_left () row:marketing_messages_{metric}:latest{{ROWS}}
    )"""


CAMPAIGN_IDS = "business, account_id, campaign_id"
# At level `account`, rows have no campaign.
CAMPAIGN_COUNT = f"""
    count(
      group by ({CAMPAIGN_IDS}) (
        {selected("delivered")}
        and on ({ROW}) row:marketing_messages_delivered:latest{{ROWS, campaign_id!=""}}
      )
    ) or vector(0)"""

# Only campaigns with known conversions.
SPEND_WITH_CONVERSIONS = f"""
    sum by (currency) (
      row:marketing_messages_spend:latest{{ROWS, {IN_CURRENCY}}}
      and on ({ROW}) row:marketing_messages_purchases:latest{{ROWS}}
    )"""
SPEND, REVENUE, ORDERS = money("spend"), money("purchase_value"), counts("purchases")
ROAS = f"{REVENUE}\n/ ({SPEND_WITH_CONVERSIONS.strip()} > 0)"


def relative_change(expr):
    """Relative change since the same time a week before; 0.1 is 10 % more."""
    return f"({expr.strip()})\n/ ({last_week(expr).strip()} > 0)\n- 1"


def weighted_cost(cost, count):
    """Meta's cost per message or click, averaged over campaigns with the count as weight."""
    return f"""
    sum by (currency) (
      row:marketing_messages_{cost}:latest{{ROWS, {IN_CURRENCY}}}
      * ignoring (currency) group_left () row:marketing_messages_{count}:latest{{ROWS}}
    )
    / (
      sum by (currency) (
        row:marketing_messages_{cost}:latest{{ROWS, {IN_CURRENCY}}} * 0
        + ignoring (currency) group_left () row:marketing_messages_{count}:latest{{ROWS}}
      ) > 0
    )"""


CHANGE = {
    "unit": "percentunit",
    "decimals": 0,
    "custom__width": 75,
    "color": {"mode": "thresholds"},
    "custom__cellOptions": {"type": "color-text"},
    "thresholds": steps("text", (-1000, BAD), (-0.05, "text"), (0.05, GOOD)),
}
# A change of spend is neither good nor bad.
SPEND_CHANGE = {**CHANGE, "thresholds": steps("text")}


def currency_table(size):
    """Totals, one row per currency: correct with one and with many currencies."""
    return table(
        "Totals by currency · $window",
        """
        Sums of the selected rows per currency, and the change since the same time a week before; empty without data from then.
        Amounts in different currencies are never added. ROAS, order value and CPA (cost per order) leave out campaigns without
        known conversions. Messages and clicks leave out some regions (see below), which spend includes. Orders are website
        purchases, estimated by Meta and restated for up to 28 days.
        """,
        size,
        [
            table_query(SPEND),
            table_query(relative_change(SPEND)),
            table_query(REVENUE),
            table_query(relative_change(REVENUE)),
            table_query(ROAS),
            table_query(relative_change(ROAS)),
            table_query(ORDERS),
            table_query(relative_change(ORDERS)),
            table_query(f"{REVENUE}\n/ ({ORDERS.strip()} > 0)"),
            table_query(f"{SPEND_WITH_CONVERSIONS.strip()}\n/ ({ORDERS.strip()} > 0)"),
            table_query(weighted_cost("cost_per_link_click", "link_clicks")),
            table_query(weighted_cost("cost_per_delivered", "delivered")),
        ],
        [
            ("currency", "Currency", {"custom__width": 80}),
            ("Value #A", "Spend", {"decimals": 0, "custom__minWidth": 90}),
            ("Value #B", "change", SPEND_CHANGE),
            ("Value #C", "Revenue", {"decimals": 0, "custom__minWidth": 90}),
            ("Value #D", "change ", CHANGE),
            ("Value #E", "ROAS", {"unit": "suffix:×", "decimals": 2, "custom__minWidth": 75}),
            ("Value #F", "change  ", CHANGE),
            ("Value #G", "Orders", {"decimals": 0, "custom__minWidth": 75}),
            ("Value #H", "change   ", CHANGE),
            ("Value #I", "Order value", {"decimals": 2, "custom__minWidth": 95}),
            ("Value #J", "CPA", {"decimals": 2, "custom__minWidth": 85}),
            ("Value #K", "Per click", {"decimals": 3, "custom__minWidth": 85}),
            ("Value #L", "Per message", {"decimals": 4, "custom__minWidth": 100}),
        ],
        join_by="currency",
        sort_by=("Currency", False),
        no_value="no amounts: not polled yet, or the ad accounts cannot be read",
    )
