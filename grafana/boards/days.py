"""Days: how did the last year go? For history that `backfill` brought, and live days beside it."""
from boards.variables import ACCOUNT, BUSINESS, CAMPAIGN, CURRENCY, JOB, WINDOW
from panels import GOOD, PLAIN, board, lines, money, over_time, override, words

# A backfilled day has one sample, in its last second; a live day has many, of which the last ones
# are the greatest. Rules recorded nothing of the past, so that the rows themselves are asked.
PURCHASE = 'action_type="offsite_conversion.fb_pixel_purchase"'


def total(metric, picks="ROWS", labels=""):
    """Each row's total of the day that ended last, of the exporter that saw most of it."""
    chosen = f"{{{picks}{', ' + labels if labels else ''}}}"
    return f"max without (instance, pod, node, campaign_name) (max_over_time(marketing_messages_{metric}{chosen}[1d]))"


IN_CURRENCY = 'currency=~"$currency"'
SPEND = f"sum by (currency) ({total('spend', labels=IN_CURRENCY)})"
REVENUE = f"sum by (currency) ({total('conversion_value', labels=f'{PURCHASE}, {IN_CURRENCY}')})"
# Of the campaigns alone whose conversions are known.
SELLING_SPEND = f"""
    sum by (currency) (
      {total('spend', labels=IN_CURRENCY)}
      and on (business, account_id, campaign_id, adset_id, ad_id) {total('conversions', labels=PURCHASE)}
    )"""
DELIVERED = f"sum({total('delivered')})"
READ = f"""
    sum(
      {total('delivered')}
      * {total('read_ratio')}
    )"""
CLICKS = f"sum({total('link_clicks')})"
PURCHASES = f"sum({total('conversions', labels=PURCHASE)})"
A_DAY = {"interval": "1d"}
REGIONS = "Delivered and read leave out Europe and Japan; clicks also Argentina, Turkey and South Korea."

BOARD = board(
    "marketing-messages-days", "Days",
    """
    How did the last year go? One point a day, for the day that ended last before it: of the subcommand backfill's
    history, or of what was scraped.
    """,
    [JOB, BUSINESS, CURRENCY, ACCOUNT, CAMPAIGN, WINDOW],
    [
        words("How to read this board", "What a point is, and where the history comes from.", (24, 4), """
            Each point is a whole day, drawn at the midnight UTC after its end. **A year of history** comes from the subcommand `backfill`; without it
            these lines begin with the first scrape. Of a day that was scraped, the greatest number within 24 hours is shown: its
            total, unless the next day, where the ad account is, has passed that already. The window must be one day long.
            """),
        lines("Spend and revenue a day · $currency", """
            Money spent, and money that website purchases brought, by day. Conversions of the last 28 days may still change.
            """, (24, 9), [over_time(SPEND, "spend {{currency}}"), over_time(REVENUE, "revenue {{currency}}")], "locale",
            overrides=[
                *money(whole=True),
                override("byRegexp", "/^spend/", color={"mode": "fixed", "fixedColor": PLAIN}),
                override("byRegexp", "/^revenue/", color={"mode": "fixed", "fixedColor": GOOD}),
            ], **A_DAY, repeat="currency", repeatDirection="h", maxPerRow=4),
        lines("ROAS a day", """
            Revenue of website purchases for money spent, of the campaigns whose conversions are known.
            """, (12, 8), [over_time(f"{REVENUE}\n/ ({SELLING_SPEND.strip()} > 0)", "{{currency}}")], "none", decimals=2, **A_DAY),
        lines("Purchases a day", """
            Website purchases attributed to the campaigns; estimated, and restated for 28 days.
            """, (12, 8), [over_time(PURCHASES, "purchases")], "short", **A_DAY),
        lines("Messages a day", f"""
            Messages delivered, read and clicked. Reads are not counted by Meta: delivered times read ratio. {REGIONS}
            """, (12, 8), [over_time(DELIVERED, "delivered"), over_time(READ, "read"), over_time(CLICKS, "clicks")],
            "short", **A_DAY),
        lines("Read and click rates a day", f"""
            Of delivered messages. {REGIONS}
            """, (12, 8), [over_time(f"{READ.strip()}\n/ ({DELIVERED} > 0)", "read"),
                           over_time(f"{CLICKS}\n/ ({DELIVERED} > 0)", "clicked")], "percentunit", **A_DAY),
    ],
    since="now-365d", refresh="1h")
