"""The variables that the boards share, each narrowing the next."""
from panels import typed, variable

# What a query about rows, campaigns or sources picks; queries write {ROWS}, {CAMPAIGNS}, {SOURCES}.
PICKS = {
    "ROWS": 'job="$job", business=~"$business", account_id=~"$account", campaign_id=~"$campaign", window="$window"',
    "CAMPAIGNS": 'job="$job", business=~"$business", account_id=~"$account", campaign_id=~"$campaign"',
    "SOURCES": 'job="$job", business=~"$business"',
    "ALERTS": 'alertname=~"MarketingMessages.+", alertstate="firing"',
}

JOB = variable(
    "job", "Job", "label_values(marketing_messages_up, job)", many=False,
    text="The scrape job. One at a time: two jobs may scrape the same exporters")
BUSINESS = variable(
    "business", "Business", 'label_values(marketing_messages_up{job="$job"}, business)',
    everything=".+", text="Customers with a token of their own")
CURRENCY = variable(
    "currency", "Currency",
    'label_values(marketing_messages_campaign_info{job="$job", business=~"$business"}, currency)',
    everything=".+", text="Money of different currencies is never added")
ACCOUNT = variable(
    "account", "Ad account",
    "query_result(max by (account_id, account_name) (topk by (account_id) (1, marketing_messages_campaign_info"
    '{job="$job", business=~"$business", currency=~"$currency"})))',
    regex='/account_id="(?<value>[^"]+)"(?:,account_name="(?<text>.*)")?\\}/',
    text="Ad accounts that bill in the chosen currencies")
NAME_OF_ID = '/campaign_id="(?<value>[^"]+)"(?:,campaign_name="(?<text>.*)")?\\}/'


def campaigns(name_filter, **more):
    return variable(
        "campaign", "Campaign",
        "query_result(max by (campaign_id, campaign_name) (topk by (campaign_id) (1, marketing_messages_campaign_info"
        f"{{{name_filter}}})))",
        regex=NAME_OF_ID, text="By id, so that a renamed campaign stays chosen", **more)


CAMPAIGN = campaigns('job="$job", business=~"$business", account_id=~"$account"', everything=".*")
ONE_CAMPAIGN = campaigns('job="$job", business=~"$business"', many=False)
WINDOW = variable(
    "window", "Window", 'label_values(row:marketing_messages_spend:latest{job="$job"}, window)',
    many=False, first="today", text="The dates that the numbers are of, in each ad account's time zone")
MIN_SPEND = typed(
    "min_spend", "Minimum spend", "0",
    "Campaigns that spent less, in their own currency, are left out of best, worst and movers")
