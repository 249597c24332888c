#!/usr/bin/env python3
"""Checks with a running Alertmanager that one cause is one notification.

usage: alert_inhibition.py ALERTMANAGER_URL

Sends pairs of alerts with the labels of the rules. The first must inhibit the second, or must not.
"""

import json
import sys
import time
import urllib.request

CAMPAIGN = {"business": "acme", "account_id": "1", "campaign_id": "10", "window": "today"}
MONTH = {**CAMPAIGN, "window": "last_30d"}
OTHER_CAMPAIGN = {**CAMPAIGN, "campaign_id": "11"}
OTHER_ACCOUNT = {**CAMPAIGN, "account_id": "2", "campaign_id": "20"}
ACCOUNT = {"business": "acme", "account_id": "1"}
OTHER_BUSINESS = {**CAMPAIGN, "business": "globex"}
SOURCE = {"business": "acme", "account_id": "1", "source": "act_1", "window": "today"}
# Name and labels of the cause and of the other alert, and whether the other one is inhibited.
PAIRS = [
    ("ExporterDown", {}, "SpendAboveThreshold", CAMPAIGN, True),
    ("ExporterDown", {}, "TokenInvalid", {"business": "acme"}, True),
    ("ExporterDown", {}, "Watchdog", {}, False),
    ("MetaUnreachable", {}, "DataStale", SOURCE, True),
    ("MetaUnreachable", {}, "PollsFailing", {"business": "acme"}, True),
    ("MetaUnreachable", {}, "DiscoveryFailing", SOURCE, True),
    ("MetaUnreachable", {}, "SpendAboveThreshold", CAMPAIGN, False),
    ("TokenInvalid", {"business": "acme"}, "DataStale", SOURCE, True),
    ("TokenInvalid", {"business": "acme"}, "DataStale", {**SOURCE, "business": "globex"}, False),
    ("CredentialsUnreadable", {"business": "acme"}, "PollsFailing", {"business": "acme"}, True),
    ("DataStale", SOURCE, "RoasBelowThreshold", CAMPAIGN, True),
    ("DataStale", SOURCE, "RoasBelowThreshold", MONTH, False),
    ("DataStale", {**CAMPAIGN, "source": "10", "account_id": ""}, "LimitNotJudged", CAMPAIGN, True),
    ("DataStale", SOURCE, "SpendAboveThreshold", CAMPAIGN, False),
    ("AdAccountNotActive", ACCOUNT, "DeliveryStalled", CAMPAIGN, True),
    ("AdAccountNotActive", ACCOUNT, "DeliveryStalled", OTHER_ACCOUNT, False),
    ("CampaignHasIssues", CAMPAIGN, "DeliveryStalled", CAMPAIGN, True),
    ("CampaignHasIssues", CAMPAIGN, "DeliveryStalled", OTHER_CAMPAIGN, False),
    ("DeliveryStalled", CAMPAIGN, "SpendUnusual", CAMPAIGN, True),
    ("PurchasesStopped", ACCOUNT, "SpendWithoutPurchases", CAMPAIGN, True),
    ("PurchasesStopped", ACCOUNT, "RoasUnusual", OTHER_CAMPAIGN, True),
    ("PurchasesStopped", ACCOUNT, "RoasUnusual", OTHER_ACCOUNT, False),
    ("PurchasesStopped", CAMPAIGN, "CostPerPurchaseHigh", MONTH, True),
    ("PurchasesStopped", CAMPAIGN, "CostPerPurchaseHigh", OTHER_CAMPAIGN, False),
    ("SpendWithoutPurchases", CAMPAIGN, "RoasBelowThreshold", MONTH, True),
    ("RoasBelowThreshold", CAMPAIGN, "CostPerPurchaseHigh", CAMPAIGN, True),
    ("RoasBelowThreshold", CAMPAIGN, "CostPerPurchaseHigh", MONTH, True),
    ("RoasBelowThreshold", CAMPAIGN, "CostPerPurchaseHigh", OTHER_BUSINESS, False),
    ("RoasBelowThreshold", CAMPAIGN, "CostPerPurchaseHigh", {**CAMPAIGN, "adset_id": "7"}, False),
]


def alert(job, name, labels):
    labels = {key: value for key, value in labels.items() if value}
    return {"labels": {"alertname": f"MarketingMessages{name}", "job": job, **labels}}


def call(url, body=None):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or b"null")


def main():
    api = f"{sys.argv[1].rstrip('/')}/api/v2/alerts"
    # A job per pair, so that the pairs do not inhibit each other.
    alerts = [
        alert(f"pair-{index}", *part)
        for index, (cause, cause_labels, other, other_labels, _) in enumerate(PAIRS)
        for part in ((cause, cause_labels), (other, other_labels))
    ]
    call(api, json.dumps(alerts).encode())
    end = time.monotonic() + 30
    while True:
        # Alertmanager stores the alerts after its response.
        inhibited = {
            (found["labels"]["job"], found["labels"]["alertname"]): bool(found["status"]["inhibitedBy"])
            for found in call(api)
            if found["labels"]["job"].startswith("pair-")
        }
        failures = [
            f"{cause} {cause_labels} should {'' if expected else 'not '}inhibit {other} {other_labels}"
            for index, (cause, cause_labels, other, other_labels, expected) in enumerate(PAIRS)
            if inhibited.get((f"pair-{index}", f"MarketingMessages{other}")) is not expected
        ]
        if not failures or time.monotonic() > end:
            break
        time.sleep(0.5)
    print("\n".join(failures) or f"{len(PAIRS)} pairs of alerts")
    sys.exit(bool(failures))


main()
