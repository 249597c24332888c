"""Variables that the boards share. Each one filters the options of the following ones."""

from panels import BAD, HIDDEN, NEUTRAL, WARN, query_variable, table, table_query, textbox_variable

# Label matchers that replace the placeholders {ROWS}, {CAMPAIGNS}, {DAYS}, {SOURCES} and {ALERTS} in queries.
SELECTORS = {
    "ROWS": 'job="$job", business=~"$business", account_id=~"$account", campaign_id=~"$campaign", window="$window"',
    "CAMPAIGNS": 'job="$job", business=~"$business", account_id=~"$account", campaign_id=~"$campaign"',
    "DAYS": 'business=~"$business", account_id=~"$account", campaign_id=~"$campaign"',
    "SOURCES": 'job="$job", business=~"$business"',
    "ALERTS": 'alertname=~"MarketingMessages.+", alertname!="MarketingMessagesWatchdog", alertstate="firing"',
}

JOB = query_variable(
    "job",
    "Job",
    "label_values(marketing_messages_up, job)",
    multi=False,
    description="Scrape job. Only one at a time, because two jobs may scrape the same exporters",
)
BUSINESS = query_variable(
    "business",
    "Business",
    'label_values(marketing_messages_up{job="$job"}, business)',
    all_value=".+",
    description="Customers with their own access token",
)
CURRENCY = query_variable(
    "currency",
    "Currency",
    'label_values(row:marketing_messages_spend:latest{job="$job", business=~"$business"}, currency)',
    all_value=".+",
    description="Amounts in different currencies are never added",
)
ACCOUNT = query_variable(
    "account",
    "Ad account",
    "query_result(max by (account_id, account_name) (topk by (account_id) (1, marketing_messages_campaign_info"
    '{job="$job", business=~"$business", currency=~"$currency|"})))',
    all_value=".*",
    regex='/account_id="(?<value>[^"]+)"(?:,account_name="(?<text>.*)")?\\}/',
    description="Ad accounts in the selected currencies",
)
CAMPAIGN_OPTION = '/campaign_id="(?<value>[^"]+)"(?:,campaign_name="(?<text>.*)")?\\}/'


def campaign_variable(selector, **kwargs):
    return query_variable(
        "campaign",
        "Campaign",
        "query_result(max by (campaign_id, campaign_name) (topk by (campaign_id) (1, marketing_messages_campaign_info"
        f"{{{selector}}})))",
        regex=CAMPAIGN_OPTION,
        description="Selected by id, so that a renamed campaign stays selected",
        **kwargs,
    )


CAMPAIGN = campaign_variable('job="$job", business=~"$business", account_id=~"$account"', all_value=".*")
ONE_CAMPAIGN = campaign_variable('job="$job", business=~"$business"', multi=False)
WINDOW = query_variable(
    "window",
    "Window",
    'label_values(row:marketing_messages_spend:latest{job="$job"}, window)',
    multi=False,
    default="today",
    description="Date range of the values, in the time zone of each ad account",
)
MIN_SPEND = textbox_variable(
    "min_spend",
    "Minimum spend",
    "0",
    "Minimum spend, in the currency of the campaign, for the panels with highest, lowest and changed ROAS",
)

# What each alert means, as part of a sentence: "act now: Spring (acme) has spent more than its limit".
ALERT_SENTENCES = {
    "SpendAboveThreshold": "has spent more than its limit max_spend",
    "RoasBelowThreshold": "has a return on ad spend below its limit min_roas",
    "CostPerPurchaseHigh": "has a cost per purchase above its limit",
    "CostPerLinkClickHigh": "has a cost per click above its limit",
    "ReadRatioBelowThreshold": "is read less than its limit min_read_ratio",
    "SpendWithoutPurchases": "spends money without purchases",
    "LimitNotJudged": "has a limit that cannot be compared, because the value is missing",
    "PurchasesStopped": "spends money, but purchases have stopped: check shop and pixel",
    "DeliveryStalled": "is active, but has not delivered for 3 hours",
    "BudgetPaceHigh": "will spend more than its budget allows",
    "SpendUnusual": "spends far more or less than on the same weekday before",
    "RoasUnusual": "has a return far from the same weekday before",
    "CampaignHasIssues": "has issues that Meta reports",
    "AdAccountNotActive": "ad account is not active",
    "SpendCapNear": "ad account has used 90 % of its spend cap",
    "ExporterDown": "no exporter responds: all values are missing",
    "MetaUnreachable": "Meta's API cannot be reached",
    "ShardMissing": "a shard of the exporters is missing",
    "DataStale": "data is too old, alerts are suspended",
    "PollsFailing": "most polls fail",
    "DiscoveryFailing": "campaigns cannot be listed",
    "CampaignsVanished": "more than half of the campaigns have vanished",
    "TokenInvalid": "access token is rejected",
    "CredentialsUnreadable": "token or app secret cannot be read",
    "TokenExpiresSoon": "access token ends within 14 days",
    "ApiQuotaHigh": "API quota is almost used up",
    "ApiErrorRateHigh": "many API requests fail",
    "ApiVersionRetiring": "API version ends",
    "FieldRejected": "Meta rejects a field",
    "ConfigReloadFailed": "changed config is rejected",
    "WebConfigReloadFailed": "changed web config is rejected",
    "StateNotWritten": "state file cannot be written",
    "TlsCertExpiresSoon": "TLS certificate ends within 14 days",
}
SINCE = {"unit": "dateTimeFromNow", "custom__width": 150}
SEVERITIES = (("critical", "act now", BAD), ("warning", "check", WARN), ("info", "note", NEUTRAL))


def alert_table(size):
    """Firing alerts as sentences: urgency, client, campaign, what is wrong, since when, and links."""
    labels = "alertname, severity, business, account_id, campaign_id, campaign_name, window"
    firing = f"""
      max by ({labels}) (
        ALERTS_FOR_STATE{{alertname=~"MarketingMessages.+", alertname!="MarketingMessagesWatchdog", business=~"$business|"}}
        and ignoring (alertstate) ALERTS{{ALERTS}}
      )"""
    # The label sorts by urgency, which the names of the severities do not.
    for rank, (severity, _, _) in enumerate(SEVERITIES):
        firing = f'label_replace({firing}, "urgency", "{rank}", "severity", "{severity}")'
    return table(
        "What needs attention",
        """
        Firing alerts for the selected businesses and for the exporter itself, the most urgent first, with the time since when
        they fire. Click an alert for its campaign, or for the campaign in Ads Manager. Empty: nothing fires.
        """,
        size,
        [
            table_query(f"1000 * {firing}"),
        ],
        [
            (
                "urgency",
                "Urgency",
                {
                    "custom__width": 75,
                    "custom__cellOptions": {"type": "color-text"},
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                str(rank): {"text": text, "color": color, "index": rank}
                                for rank, (_, text, color) in enumerate(SEVERITIES)
                            },
                        }
                    ],
                },
            ),
            ("business", "Client", {"custom__width": 95}),
            ("campaign_name", "Campaign", {"custom__width": 155}),
            (
                "alertname",
                "What is wrong",
                {
                    "custom__minWidth": 260,
                    "links": [
                        {
                            "title": "Open campaign",
                            "url": "/d/marketing-messages-campaign?${datasource:queryparam}&${job:queryparam}"
                            "&var-business=${__data.fields.business}&var-campaign=${__data.fields.campaign_id}&${__url_time_range}",
                        },
                        {
                            "title": "Open in Ads Manager",
                            "url": "https://adsmanager.facebook.com/adsmanager/manage/campaigns?act=${__data.fields.account_id}"
                            "&selected_campaign_ids=${__data.fields.campaign_id}",
                            "targetBlank": True,
                        },
                    ],
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                f"MarketingMessages{name}": {"text": text, "index": index}
                                for index, (name, text) in enumerate(ALERT_SENTENCES.items())
                            },
                        }
                    ],
                },
            ),
            ("Value", "Since", SINCE),
            # The name of the field if Grafana, or an option of the panel, adds the id of the query.
            ("Value #A", "Since ", SINCE),
            ("window", "Window", {"custom__width": 90}),
            ("account_id", "account_id", HIDDEN),
            ("campaign_id", "campaign_id", HIDDEN),
        ],
        sort_by=("Urgency", False),
        no_value="nothing fires",
        unit="none",
    )
