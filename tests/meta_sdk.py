"""Checks that Meta's Python SDK works with the simulated Graph API as it does with the real one.

Usage: python tests/meta_sdk.py BASE_URL TOKEN

Requires the PyPI package facebook-business. Only the base URL of the SDK is changed. The exit status is 1 if a check
fails.
"""

import re
import sys
from decimal import Decimal
from pathlib import Path

from facebook_business.adobjects.ad import Ad
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.adset import AdSet
from facebook_business.adobjects.adsinsights import AdsInsights
from facebook_business.adobjects.campaign import Campaign
from facebook_business.adobjects.user import User
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

PURCHASE = "offsite_conversion.fb_pixel_purchase"
counts = {"passed": 0, "failed": 0}


def check(description, condition):
    counts["passed" if condition else "failed"] += 1
    if not condition:
        print("failed:", description)


def values(stats):
    return {stat["action_type"]: Decimal(stat["value"]) for stat in stats or []}


def compare_numeric_fields():
    """The fields that `insights.extra_fields` accepts without a warning are fields of the SDK with a single value."""
    source = Path(__file__).parent.parent / "src" / "graph" / "numeric_fields.rs"
    constant = source.read_text().split("const NUMERIC_FIELDS", 1)[1].split("];", 1)[0]
    fields = re.findall(r'^    "([a-z_]+)",$', constant, re.M)
    check("the list of numeric fields is found", len(fields) > 40)
    for field in fields:
        kind = AdsInsights._field_types.get(field)
        check(f"{field} has a single value, found {kind}", kind == "string")


def main(url, token):
    compare_numeric_fields()
    FacebookSession.GRAPH = url
    FacebookAdsApi.init(access_token=token, crash_log=False)
    accounts = list(User(fbid="me").get_ad_accounts(fields=["name", "currency", "timezone_name"]))
    check("several ad accounts", len(accounts) >= 3)
    check("several currencies", len({account["currency"] for account in accounts}) >= 3)
    for account in accounts:
        check("ad account ids start with act_", account["id"].startswith("act_"))
        read_account(AdAccount(account["id"]), account)
    errors(AdAccount(accounts[0]["id"]))


def read_account(account, listed):
    node = account.api_get(fields=["name", "account_status", "timezone_offset_hours_utc", "amount_spent"])
    check("node and list have the same name", node["name"] == listed["name"])
    check("the account is active", node["account_status"] == 1)
    check("the amount spent is above 0", int(node["amount_spent"]) > 0)

    campaigns = list(
        account.get_campaigns(
            fields=["name", "is_message_campaign", "effective_status", "objective", "created_time"],
            params={"limit": 2},
        )
    )
    check("each campaign is listed once", len({campaign["id"] for campaign in campaigns}) == len(campaigns))
    messages = [campaign for campaign in campaigns if campaign["is_message_campaign"]]
    check("some campaigns are message campaigns", 0 < len(messages))
    check("archived campaigns are not listed by default", all(c["effective_status"] != "ARCHIVED" for c in campaigns))
    everything = account.get_campaigns(
        fields=["effective_status"],
        params={"effective_status": ["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"], "summary": True},
    )
    check("the summary has the total count", everything.total() >= len(campaigns))

    adsets = list(account.get_ad_sets(fields=["name", "campaign_id", "daily_budget", "promoted_object"]))
    check("ad sets have budgets", all(int(adset["daily_budget"]) > 0 for adset in adsets))
    ads = list(account.get_ads(fields=["name", "campaign{id,name,is_message_campaign}", "adset{daily_budget}"]))
    check("ads include their campaign", all(ad["campaign"]["name"] for ad in ads))
    check("ads include their ad set", all(int(ad["adset"]["daily_budget"]) > 0 for ad in ads))
    adset, ad = AdSet(adsets[0]["id"]), Ad(ads[0]["id"])
    check("an ad set has one insights row", len(adset.get_insights(fields=["spend"])) == 1)
    check("an ad has one insights row", len(ad.get_insights(fields=["spend", "ad_id"])) == 1)

    read_insights(account, {campaign["id"]: campaign for campaign in messages})


def read_insights(account, messages):
    fields = [
        AdsInsights.Field.campaign_id,
        AdsInsights.Field.campaign_name,
        AdsInsights.Field.spend,
        "marketing_messages_delivered",
        "marketing_messages_read",
        "marketing_messages_read_rate",
        "marketing_messages_spend",
        "marketing_messages_cost_per_delivered",
    ]
    params = {"level": "campaign", "date_preset": "last_30d"}

    def fetch_rows(limit):
        return [row.export_all_data() for row in account.get_insights(fields=fields, params={**params, "limit": limit})]

    # For a campaign that does not support dates, the API returns lifetime totals, which grow while pages are read.
    # The pages are therefore compared with a full result that was equal before and after reading them.
    for _ in range(20):
        all_rows, paged, all_rows_after = fetch_rows(500), fetch_rows(2), fetch_rows(500)
        if all_rows == all_rows_after:
            break
    check("the pages together equal the full result", all_rows == all_rows_after == paged)

    for row in all_rows:
        delivered = int(row["marketing_messages_delivered"])
        check("only message campaigns deliver messages", (delivered > 0) == (row["campaign_id"] in messages))
        if delivered:
            rate = Decimal(row["marketing_messages_read"]) * 100 / delivered
            check("rates are percentages", abs(rate - Decimal(row["marketing_messages_read_rate"])) < Decimal("1e-6"))
            cost = Decimal(row["marketing_messages_spend"]) / delivered
            check(
                "costs are quotients",
                abs(cost - Decimal(row["marketing_messages_cost_per_delivered"])) < Decimal("1e-6"),
            )
        else:
            check(
                "other campaigns have a message spend of 0",
                row["marketing_messages_spend"] == "0" and Decimal(row["spend"]) > 0,
            )

    with_dates = [
        row for row in all_rows if row["campaign_id"] in messages and row["date_start"] == all_rows[0]["date_start"]
    ]
    for row in with_dates[:3]:
        read_campaign(Campaign(row["campaign_id"]), row)


def read_campaign(campaign, row):
    time_range = {"since": row["date_start"], "until": row["date_stop"]}
    [delivery] = campaign.get_insights(fields=["marketing_messages_delivered"], params={"time_range": time_range})
    check(
        "a time range has the values of the equal preset",
        delivery["marketing_messages_delivered"] == row["marketing_messages_delivered"],
    )
    check("date_start is the requested one", delivery["date_start"] == time_range["since"])
    days = list(
        campaign.get_insights(
            fields=["marketing_messages_delivered"],
            params={"time_range": time_range, "time_increment": 1, "limit": 7},
        )
    )
    total = sum(int(day["marketing_messages_delivered"]) for day in days)
    check("daily rows add up to the range", total == int(row["marketing_messages_delivered"]))

    fields = ["actions", "action_values", "website_purchase_roas", "marketing_messages_spend", "attribution_setting"]
    [unfiltered] = campaign.get_insights(fields=fields, params={"time_range": time_range})
    filtering = [{"field": "action_type", "operator": "IN", "value": [PURCHASE]}]
    params = {"time_range": time_range, "filtering": filtering, "action_breakdowns": ["action_type"]}
    [filtered] = campaign.get_insights(fields=fields, params=params)
    if unfiltered["attribution_setting"] == "multiple":
        check("mixed attribution has no actions", "actions" not in unfiltered and "actions" not in filtered)
        return
    check("the filter returns only purchases", set(values(filtered.get("actions"))) <= {PURCHASE})
    purchases = values(unfiltered["actions"]).get(PURCHASE)
    check("the filter does not change values", values(filtered.get("actions")).get(PURCHASE) == purchases)
    if purchases:
        check(
            "purchases are also reported as omni_purchase", values(unfiltered["actions"])["omni_purchase"] == purchases
        )
        roas = values(filtered["action_values"])[PURCHASE] / Decimal(filtered["marketing_messages_spend"])
        reported = values(filtered["website_purchase_roas"])[PURCHASE]
        check("website_purchase_roas is purchase value divided by spend", abs(roas - reported) < Decimal("1e-6"))


def errors(account):
    def error(call):
        try:
            call()
        except FacebookRequestError as error:
            return error.http_status(), error.api_error_code(), error.api_error_subcode()
        return None

    check("an unknown field is code 100", error(lambda: account.get_insights(fields=["foo"])) == (400, 100, None))
    unlisted_campaign = Campaign("120219999999999999")
    check("an unknown id is 100/33", error(lambda: unlisted_campaign.api_get(fields=["name"])) == (400, 100, 33))
    too_old = {"time_range": {"since": "2020-01-01", "until": "2020-01-02"}}
    check(
        "more than 37 months back is 3018",
        error(lambda: account.get_insights(fields=["spend"], params=too_old)) == (400, 3018, None),
    )
    cursor = {"after": "nonsense"}
    check("a wrong cursor is 2642", error(lambda: account.get_campaigns(params=cursor)) == (400, 2642, None))


main(*sys.argv[1:3])
print(f"{counts['passed']} passed, {counts['failed']} failed")
sys.exit(1 if counts["failed"] or not counts["passed"] else 0)
