"""Exporter board: state of polls, access tokens, API quotas and exporters. For operators."""

from boards.variables import BUSINESS, JOB
from panels import (
    BAD,
    GOOD,
    NEUTRAL,
    WARN,
    annotation,
    bad_below,
    dashboard,
    good_below,
    instant_query,
    override,
    range_query,
    stat,
    steps,
    table,
    table_query,
    time_series,
)

PREFIX = "marketing_messages_exporter_"
DURATION = f"{PREFIX}api_request_duration_seconds"


def duration_quantile(quantile):
    """Quantile of request durations, from buckets or from a native histogram: Prometheus can convert the buckets on scraping."""
    buckets = f'sum by (le) (rate({DURATION}_bucket{{job="$job"}}[$__rate_interval]))'
    native = f'sum(rate({DURATION}{{job="$job"}}[$__rate_interval]))'
    return f"histogram_quantile({quantile}, {buckets})\nor\nhistogram_quantile({quantile}, {native})"


def by_source(expr, *labels):
    """Value per source and window, with a label `key` to join table queries by."""
    group_labels = ", ".join(("key", *labels))
    return table_query(f"""
    max by ({group_labels}) (
      label_join(
        {expr},
        "key", " ", "business", "source", "window"
      )
    )""")


BOARD = dashboard(
    "marketing-messages-exporter",
    "Exporter",
    "State of polls, access tokens, API quotas and exporters.",
    [JOB, BUSINESS],
    [
        stat(
            "Exporters up",
            "Scrape targets that are up, and all scrape targets of the job.",
            (6, 3),
            [
                instant_query('sum(up{job="$job"}) or vector(0)', "up"),
                instant_query('count(up{job="$job"}) or vector(0)', "total"),
            ],
            "none",
            thresholds=bad_below((1, GOOD)),
            text_sizes=(13, 18),
            text_mode="value_and_name",
            overrides=[override("byName", "total", color={"mode": "fixed", "fixedColor": "text"})],
        ),
        stat(
            "Oldest data",
            "Time since the last successful poll of the least recently polled source and window.",
            (6, 3),
            [instant_query("max(source:marketing_messages_age:seconds{SOURCES})", "age")],
            "s",
            decimals=0,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1800, WARN), (3600, BAD)),
        ),
        stat(
            "Stale sources",
            "Sources, windows and queries without success for too long: half of stale_after, or two intervals and 10 minutes.",
            (6, 3),
            [instant_query("count(source:marketing_messages_fresh:bool{SOURCES} == 0) or vector(0)", "stale")],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, BAD)),
        ),
        stat(
            "Failed polls",
            "Share of polls that failed in the last hour.",
            (6, 3),
            [
                instant_query(
                    f"""
            sum(rate({PREFIX}poll_failures_total{{SOURCES}}[1h]))
            / (sum(rate({PREFIX}polls_total{{SOURCES}}[1h])) > 0)
            """,
                    "failed",
                )
            ],
            "percentunit",
            decimals=1,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((0.05, WARN), (0.5, BAD)),
        ),
        stat(
            "Rejected tokens",
            "Businesses with an access token that the Graph API rejects.",
            (6, 3),
            [instant_query(f"count(min by (business) ({PREFIX}token_valid{{SOURCES}}) == 0) or vector(0)", "rejected")],
            "none",
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((1, BAD)),
        ),
        stat(
            "Highest quota",
            """
            Usage of the Graph API quota with the highest usage. The exporter polls more slowly above
            polling.quota_share (default 75 %).
            """,
            (6, 3),
            [instant_query(f"max({PREFIX}api_usage_ratio{{SOURCES}})", "used")],
            "percentunit",
            decimals=0,
            text_mode="value",
            text_sizes=(14, 30),
            thresholds=good_below((0.75, WARN), (0.9, BAD)),
            no_value="not reported",
        ),
        stat(
            "API version",
            """
            Requested API version and version of the last response. They differ if the requested version is retired.
            """,
            (6, 3),
            [
                instant_query(
                    f'max by (configured, answered) ({PREFIX}api_version_info{{job="$job"}})',
                    "{{configured}} → {{answered}}",
                )
            ],
            "none",
            text_mode="name",
            color="text",
            text_sizes=(20, 20),
        ),
        stat(
            "Config",
            "Whether the last attempt to load the config succeeded.",
            (6, 3),
            [instant_query(f'min({PREFIX}config_last_reload_successful{{job="$job"}})', "loaded")],
            "none",
            text_mode="value",
            text_sizes=(14, 26),
            thresholds=bad_below((1, GOOD)),
            defaults={
                "mappings": [
                    {
                        "type": "value",
                        "options": {"0": {"text": "rejected", "index": 0}, "1": {"text": "loaded", "index": 1}},
                    }
                ]
            },
        ),
        time_series(
            "Data age by business, in minutes",
            """
            Time since the last successful poll of the least recently polled source of each business: the ten businesses with the
            oldest data in the time range. Normally a sawtooth between 0 and the polling interval.
            """,
            (12, 8),
            [
                range_query(
                    """
                max by (business) (source:marketing_messages_age:seconds{SOURCES}) / 60
                and on (business)
                  topk(10,
                    max by (business) (max_over_time(source:marketing_messages_age:seconds{SOURCES}[$__range] @ end()))
                  )
                """,
                    "{{business}}",
                )
            ],
            "suffix:min",
            decimals=0,
            no_value="not polled yet",
        ),
        time_series(
            "Polls per minute, failures by reason",
            """
            Finished polls, skipped polls, and failed polls by the reason of their first error, if there are any in the time
            range. All lines except the first should be 0.
            """,
            (12, 8),
            [
                range_query(f"60 * sum(rate({PREFIX}polls_total{{SOURCES}}[$__rate_interval]))", "all polls"),
                range_query(
                    f"60 * sum by (reason) (rate({PREFIX}poll_failures_total{{SOURCES}}[$__rate_interval]))\n"
                    f"and on (reason) sum by (reason) (increase({PREFIX}poll_failures_total{{SOURCES}}[$__range] @ end())) > 0",
                    "failed: {{reason}}",
                ),
                range_query(f"60 * sum(rate({PREFIX}polls_skipped_total{{SOURCES}}[$__rate_interval]))", "skipped"),
            ],
            "none",
            overrides=[override("byName", "all polls", color={"mode": "fixed", "fixedColor": NEUTRAL})],
        ),
        time_series(
            "API requests per minute",
            "Requests to the Graph API by endpoint, including failed ones.",
            (8, 8),
            [
                range_query(
                    f"60 * sum by (endpoint) (rate({PREFIX}api_requests_total{{SOURCES}}[$__rate_interval]))",
                    "{{endpoint}}",
                ),
            ],
            "none",
            stacked=True,
        ),
        time_series(
            "API errors per minute",
            "Failed requests by reason and Graph API error code.",
            (8, 8),
            [
                range_query(
                    f"""
                60 * sum by (reason, code) (rate({PREFIX}api_request_errors_total{{SOURCES}}[$__rate_interval]))
                or on ()
                label_replace(label_replace(vector(0), "reason", "no errors", "", ""), "code", "so far", "", "")
                """,
                    "{{reason}} {{code}}",
                ),
            ],
            "none",
            no_value="no errors",
        ),
        time_series(
            "API request duration",
            "Median and 95th percentile of the duration of Graph API requests.",
            (8, 8),
            [
                range_query(duration_quantile(0.5), "median"),
                range_query(duration_quantile(0.95), "95th percentile"),
            ],
            "s",
        ),
        time_series(
            "Quota usage",
            """
            Highest usage per kind of limit as last reported in Meta's usage headers. Dashed lines: the exporter polls
            more slowly above 75 %, an alert fires above 90 %. Sending messages uses the same quota.
            """,
            (14, 9),
            [
                range_query(f"max by (business, limit) ({PREFIX}api_usage_ratio{{SOURCES}})", "{{business}} {{limit}}"),
            ],
            "percentunit",
            decimals=0,
            threshold_lines=True,
            thresholds=steps("transparent", (0.75, WARN), (0.9, BAD)),
            soft_max=1,
            legend="table",
        ),
        table(
            "Tokens",
            """
            State and expiry of the access token of each business, and the number of sources that use it. The expiry is
            empty if the token does not expire, or if no app secret is configured to query it.
            """,
            (10, 9),
            [
                table_query(f"min by (business) ({PREFIX}token_valid{{SOURCES}})"),
                table_query(f"min by (business) ({PREFIX}token_expires_timestamp_seconds{{SOURCES}}) - time()"),
                table_query("sum by (business) (max by (business, source) (marketing_messages_up{SOURCES} * 0 + 1))"),
                table_query("max by (business) (source:marketing_messages_age:seconds{SOURCES})"),
            ],
            [
                ("business", "Business", {}),
                (
                    "Value #A",
                    "Token",
                    {
                        "custom__cellOptions": {"type": "color-text"},
                        "color": {"mode": "thresholds"},
                        "thresholds": bad_below((1, GOOD)),
                        "mappings": [
                            {
                                "type": "value",
                                "options": {"0": {"text": "rejected", "index": 0}, "1": {"text": "valid", "index": 1}},
                            }
                        ],
                    },
                ),
                ("Value #B", "Expires in", {"unit": "s", "decimals": 0}),
                ("Value #C", "Sources", {"unit": "none"}),
                ("Value #D", "Oldest data", {"unit": "s", "decimals": 1}),
            ],
            join_by="business",
            no_value="not polled yet",
        ),
        table(
            "Sources",
            """
            Every source and window: result of the last poll, age of its data, age as a percentage of stale_after (an
            alert fires above 50 % or two intervals and ten minutes), duration of the last poll, time of the next poll, and remaining time of a pause.
            """,
            (24, 11),
            [
                by_source("marketing_messages_up{SOURCES}", "business", "source", "window"),
                by_source("source:marketing_messages_age:seconds{SOURCES}"),
                by_source(
                    "source:marketing_messages_age:seconds{SOURCES}\n"
                    f"        / on (job, instance, business, source, window) group_left () ({PREFIX}stale_after_seconds > 0)"
                ),
                by_source(f"{PREFIX}poll_duration_seconds{{SOURCES}}"),
                by_source(f"1000 * {PREFIX}next_poll_timestamp_seconds{{SOURCES}}"),
                by_source(
                    "clamp_min(\n"
                    "          marketing_messages_up{SOURCES} * 0\n"
                    "            + on (job, instance, business, source) group_left ()\n"
                    f"              ({PREFIX}api_paused_until_timestamp_seconds - time()), 0\n"
                    "        ) or marketing_messages_up{SOURCES} * 0"
                ),
            ],
            [
                ("business", "Business", {"custom__minWidth": 95}),
                ("source", "Source", {"custom__width": 200}),
                ("window", "Window", {"custom__minWidth": 85}),
                (
                    "Value #A",
                    "Last poll",
                    {
                        "custom__minWidth": 95,
                        "custom__cellOptions": {"type": "color-text"},
                        "color": {"mode": "thresholds"},
                        "thresholds": bad_below((1, GOOD)),
                        "mappings": [
                            {
                                "type": "value",
                                "options": {
                                    "0": {"text": "failed", "index": 0},
                                    "1": {"text": "succeeded", "index": 1},
                                },
                            }
                        ],
                    },
                ),
                ("Value #B", "Age", {"unit": "s", "decimals": 1, "custom__minWidth": 85}),
                (
                    "Value #C",
                    "Of stale_after",
                    {
                        "custom__minWidth": 115,
                        "unit": "percentunit",
                        "decimals": 0,
                        "color": {"mode": "thresholds"},
                        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
                        "thresholds": steps("transparent", (0.5, WARN), (1, BAD)),
                    },
                ),
                ("Value #D", "Duration", {"unit": "s", "decimals": 2, "custom__minWidth": 85}),
                ("Value #E", "Next poll", {"unit": "dateTimeFromNow"}),
                ("Value #F", "Paused for", {"unit": "s", "decimals": 0}),
            ],
            join_by="key",
            sort_by=("Of stale_after", True),
            no_value="not polled yet",
        ),
        time_series(
            "Campaign series",
            """
            Series of campaign metrics. The number grows with campaigns, windows and action types.
            """,
            (6, 7),
            [range_query(f'sum by (instance) ({PREFIX}page_series{{job="$job"}})', "{{instance}}")],
            "locale",
            decimals=0,
        ),
        time_series(
            "Metrics page size",
            "Size of the campaign metrics before compression.",
            (6, 7),
            [range_query(f'sum by (instance) ({PREFIX}page_bytes{{job="$job"}})', "{{instance}}")],
            "bytes",
        ),
        time_series(
            "Scrape duration",
            "Duration of scrapes by Prometheus.",
            (6, 7),
            [range_query('scrape_duration_seconds{job="$job"}', "{{instance}}")],
            "s",
        ),
        time_series(
            "Memory",
            "Resident memory of each exporter process.",
            (6, 7),
            [range_query('process_resident_memory_bytes{job="$job"}', "{{instance}}")],
            "bytes",
        ),
        table(
            "Exporters",
            """
            Version, shard, uptime and CPU usage of each exporter, and time since its config was loaded.
            """,
            (12, 7),
            [
                table_query(f'max by (instance, version, revision) ({PREFIX}build_info{{job="$job"}})'),
                table_query(f'max by (instance, index, count) ({PREFIX}shard_info{{job="$job"}})'),
                table_query('max by (instance) (time() - process_start_time_seconds{job="$job"})'),
                table_query('max by (instance) (rate(process_cpu_seconds_total{job="$job"}[$__rate_interval]))'),
                table_query(
                    f'max by (instance) (time() - {PREFIX}config_last_reload_success_timestamp_seconds{{job="$job"}})'
                ),
            ],
            [
                ("instance", "Exporter", {"custom__width": 150}),
                ("version", "Version", {"custom__width": 80}),
                ("revision", "Revision", {"custom__width": 125}),
                ("index", "Shard", {"custom__width": 65}),
                ("count", "of", {"custom__width": 50}),
                ("Value #C", "Uptime", {"unit": "s", "decimals": 1}),
                ("Value #D", "CPU", {"unit": "percentunit", "decimals": 2}),
                ("Value #E", "Config age", {"unit": "s", "decimals": 1}),
            ],
            join_by="instance",
            no_value="not polled yet",
        ),
        table(
            "Rejected fields",
            """
            Fields that the Graph API rejects. The exporter has stopped requesting them, and their metrics are absent.
            Empty if there are none.
            """,
            (6, 7),
            [table_query(f"max by (business, field) ({PREFIX}field_rejected{{SOURCES}} == 1)")],
            [
                ("business", "Business", {"custom__width": 100}),
                ("field", "Field", {}),
            ],
            no_value="none",
            unit="none",
        ),
        table(
            "Invalid values",
            """
            Values in API responses that are not a possible number and were dropped, by field, in the selected time range.
            Empty if there are none.
            """,
            (6, 7),
            [
                table_query(f'sum by (field) (increase({PREFIX}invalid_values_total{{job="$job"}}[$__range])) > 0'),
            ],
            [
                ("field", "Field", {}),
                ("Value #A", "Values", {"decimals": 0, "custom__width": 80}),
            ],
            no_value="none",
            unit="none",
        ),
    ],
    annotations=[
        annotation(
            "Restarts",
            """
            changes(process_start_time_seconds{job="$job"}[3m]) > 0
            """,
            "Restart",
            "{{instance}}",
            NEUTRAL,
        ),
        annotation(
            "Config loaded",
            """
            changes(marketing_messages_exporter_config_last_reload_success_timestamp_seconds{job="$job"}[3m]) > 0
            """,
            "Config loaded",
            "{{instance}}",
            GOOD,
            enabled=False,
        ),
        annotation(
            "Alerts",
            """
            max by (alertname, severity, business) (ALERTS{ALERTS, business=~"$business|", campaign_id=""})
            """,
            "{{alertname}}",
            "{{business}}",
            BAD,
        ),
    ],
    time_from="now-6h",
    refresh="1m",
)
