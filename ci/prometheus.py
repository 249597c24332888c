#!/usr/bin/env python3
"""Checks the metrics page of the demo with promtool and a Prometheus server.

The queries are of the kinds that dashboards and rules use, such as sums by business and currency, and joins of
thresholds with the values that they limit.
"""

import json
import socket
import tempfile
import urllib.parse
from pathlib import Path

from processes import (
    campaign_section,
    fetch,
    fetch_text,
    ready_page,
    require,
    run,
    run_check,
    sample_lines,
    spawn,
    start_demo,
    step,
    wait_until,
)

# Maximum seconds until the demo exports campaign metrics. It takes a few seconds, and longer on a busy machine.
MAX_START_SECONDS = 10

CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: marketing-messages
    static_configs: [{{ targets: ["{target}"] }}]
"""

# Each query must have a result.
QUERIES = {
    "spend by business and currency": 'sum by (business, currency) (marketing_messages_spend{window="today"})',
    "return on ad spend": 'marketing_messages_website_purchase_roas{window="last_30d"} > 0',
    "conversion value by business and currency": "sum by (business, currency) (marketing_messages_conversion_value)",
    "read ratios between 0 and 1": "marketing_messages_read_ratio > 0 and marketing_messages_read_ratio < 1",
    "spend and its threshold": (
        'marketing_messages_spend{window="today"} / ignoring(currency) marketing_messages_max_spend_threshold'
    ),
    "return on ad spend and its threshold": (
        'marketing_messages_website_purchase_roas{action_type="offsite_conversion.fb_pixel_purchase"}'
        " / ignoring(action_type) marketing_messages_min_roas_threshold"
    ),
    "read ratio and its threshold": "marketing_messages_read_ratio / marketing_messages_min_read_ratio_threshold",
    "cost per link click and its threshold": (
        "marketing_messages_cost_per_link_click"
        " / ignoring(currency) marketing_messages_max_cost_per_link_click_threshold"
    ),
    "cost per purchase and its threshold": (
        "(marketing_messages_spend / ignoring(currency, action_type) "
        'marketing_messages_conversions{action_type="offsite_conversion.fb_pixel_purchase"})'
        " / ignoring(currency) marketing_messages_max_cost_per_purchase_threshold"
    ),
    "delivered messages with the status of the campaign": (
        "marketing_messages_delivered * on (business, account_id, campaign_id) "
        "group_left (status) marketing_messages_campaign_info"
    ),
    "age of the values of every source": "time() - marketing_messages_last_success_timestamp_seconds >= 0",
    "elapsed share of a window": (
        "(time() - marketing_messages_window_start_timestamp_seconds)"
        " / (marketing_messages_window_end_timestamp_seconds - marketing_messages_window_start_timestamp_seconds)"
    ),
    "API requests per second": (
        "sum by (business, endpoint) (rate(marketing_messages_exporter_api_requests_total[10s])) >= 0"
    ),
    "90th percentile of API request durations": (
        "histogram_quantile(0.9, rate(marketing_messages_exporter_api_request_duration_seconds_bucket[10s]))"
    ),
}

# `team` is a label from the demo's config; configured labels are on every series of a business.
ROW_LABELS = {"business", "account_id", "campaign_id", "campaign_name", "window", "team"}
LABELS = {
    "marketing_messages_delivered": ROW_LABELS,
    "marketing_messages_spend": ROW_LABELS | {"currency"},
    "marketing_messages_conversions": ROW_LABELS | {"action_type"},
    "marketing_messages_conversion_value": ROW_LABELS | {"action_type", "currency"},
    "marketing_messages_max_spend_threshold": ROW_LABELS,
    "marketing_messages_up": {"business", "source", "window", "team"},
}


def check():
    with start_demo() as exporter:
        base = exporter.read_value("exporter")
        with step("campaign metrics are exported soon after the start") as note:
            page = wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")
            start_seconds = exporter.uptime()
            note(f"{start_seconds:.2f} s, {len(sample_lines(page))} series, {len(page)} bytes")
            require(start_seconds <= MAX_START_SECONDS, f"took {start_seconds:.1f} s, more than {MAX_START_SECONDS} s")
        with step("promtool check metrics accepts the page"):
            lint(fetch_text(base + "metrics"))
        with step("promtool check metrics accepts the page of curl --compressed"):
            curl = run("curl", "-sS", "--fail", "--noproxy", "*", "--compressed", base + "metrics")
            require(curl.returncode == 0, f"curl exits {curl.returncode}: {curl.stderr}")
            lint(curl.stdout)
        check_scrape(base)
        exporter.terminate()


def lint(page):
    promtool = run("promtool", "check", "metrics", stdin=page)
    require(promtool.returncode == 0, f"promtool exits {promtool.returncode}:\n{promtool.stdout}{promtool.stderr}")


def check_scrape(base):
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        config = Path(folder) / "prometheus.yaml"
        config.write_text(CONFIG.format(target=urllib.parse.urlsplit(base).netloc))
        checked = run("promtool", "check", "config", str(config))
        require(checked.returncode == 0, f"promtool check config: {checked.stdout}{checked.stderr}")
        listen_address = free_address()
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={listen_address}",
            "--log.level=warn",
        ]
        with spawn(command, "prometheus") as prometheus:
            api = f"http://{listen_address}"
            with step("Prometheus is ready"):
                wait_until(lambda: fetch(f"{api}/-/ready")[0] == 200, 30, "Prometheus is ready")
            with step("Prometheus scrapes the exporter"):
                # The first scrape follows about five seconds after the start.
                wait_until(lambda: query(api, 'up{job="marketing-messages"} == 1'), 30, "up is 1")
                # Rates need two scrapes.
                wait_until(lambda: query(api, "count_over_time(up[10s]) >= 3"), 15, "three scrapes")
            with step("Prometheus stores every series of the page") as note:
                note(
                    wait_until(
                        lambda: count_series(api, base),
                        15,
                        "stored, reported and exported numbers of series are equal",
                        pause=0.5,
                    )
                )
            with step(f"{len(QUERIES)} queries have a result"):
                for description, expression in QUERIES.items():
                    require(query(api, expression), f"{description}: no result for {expression}")
            with step(f"{len(LABELS)} metrics have exactly the expected labels"):
                for name, expected in LABELS.items():
                    for row in query(api, name):
                        found = set(row["metric"]) - {"__name__", "job", "instance"}
                        require(found == expected, f"{name} has the labels {sorted(found)}")
            with step("every spend threshold joins exactly one spend"):
                thresholds = query(api, "count(marketing_messages_max_spend_threshold)")[0]["value"][1]
                expression = (
                    "count(marketing_messages_spend / ignoring(currency) marketing_messages_max_spend_threshold)"
                )
                joined = query(api, expression)[0]["value"][1]
                require(thresholds == joined, f"{thresholds} thresholds, {joined} joined")
            with step("every source is up"):
                down = query(api, "marketing_messages_up == 0")
                require(not down, f"down: {down}")
            prometheus.terminate()


def count_series(api, base):
    """Returns the number of series as text if Prometheus, the page and the self metrics agree, otherwise None."""
    page = fetch_text(base + "metrics")
    campaigns = campaign_section(page)
    reported = query(api, "marketing_messages_exporter_page_series")[0]["value"][1]
    names = "|".join(sorted({line.split("{")[0].split(" ")[0] for line in sample_lines(campaigns)}))
    stored = query(api, f'count({{job="marketing-messages",__name__=~"{names}"}})')[0]["value"][1]
    scraped = query(api, 'scrape_samples_scraped{job="marketing-messages"}')[0]["value"][1]
    agree = int(reported) == int(stored) == len(sample_lines(campaigns)) and int(scraped) == len(sample_lines(page))
    return f"{reported} campaign series, {scraped} in total" if agree else None


def query(api, expression):
    """Returns the rows of an instant query."""
    parameters = urllib.parse.urlencode({"query": expression})
    _, _, body = fetch(f"{api}/api/v1/query?{parameters}")
    answer = json.loads(body)
    require(answer["status"] == "success", f"{expression}: {answer.get('error')}")
    return answer["data"]["result"]


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


run_check(check)
