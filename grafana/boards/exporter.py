"""Exporter: does it read what it should, in time, within its quota? For who runs it."""
from boards.variables import BUSINESS, JOB
from panels import (BAD, GOOD, NEAR, PLAIN, annotation, board, column, lines, now, over_time, override, stat, steps,
                    table)

OWN = "marketing_messages_exporter_"


def by_source(expr, *labels):
    """A number of each source and window, with one label that tables can be joined by."""
    kept = ", ".join(("key", *labels))
    return column(f"""
    max by ({kept}) (
      label_join(
        {expr},
        "key", " ", "business", "source", "window"
      )
    )""")


BOARD = board(
    "marketing-messages-exporter", "Exporter",
    "Does the exporter read what it should, in time and within its quota?",
    [JOB, BUSINESS],
    [
        stat("Exporters up", "Exporters that answer Prometheus, of those it knows.", (6, 3), [
            now('sum(up{job="$job"}) or vector(0)', "up"), now('count(up{job="$job"}) or vector(0)', "of"),
        ], "none", thresholds=steps(BAD, (1, GOOD)), letters=(13, 18), names="value_and_name",
             overrides=[override("byName", "of", color={"mode": "fixed", "fixedColor": "text"})]),
        stat("Oldest data", "The source and window that was read least recently.", (6, 3),
             [now("max(source:marketing_messages_age:seconds{SOURCES})", "age")], "s", decimals=0, names="value",
             letters=(14, 30), thresholds=steps(GOOD, (1800, NEAR), (3600, BAD))),
        stat("Stale sources", "Sources and windows without a successful poll for half of the time that they are believed.",
             (6, 3), [now("count(source:marketing_messages_fresh:bool{SOURCES} == 0) or vector(0)", "stale")], "none",
             names="value", letters=(14, 30), thresholds=steps(GOOD, (1, BAD))),
        stat("Polls that fail", "Share of the polls of the last hour that failed.", (6, 3), [now(f"""
            sum(rate({OWN}poll_failures_total{{SOURCES}}[1h]))
            / (sum(rate({OWN}polls_total{{SOURCES}}[1h])) > 0)
            """, "failed")], "percentunit", decimals=1, names="value", letters=(14, 30),
             thresholds=steps(GOOD, (0.05, NEAR), (0.5, BAD))),
        stat("Tokens refused", "Businesses whose access token the API refuses.", (6, 3),
             [now(f"count(min by (business) ({OWN}token_valid{{SOURCES}}) == 0) or vector(0)", "refused")], "none",
             names="value", letters=(14, 30), thresholds=steps(GOOD, (1, BAD))),
        stat("Highest quota in use", """
            The quota of the Graph API that is closest to its end. The exporter slows down by itself
            from polling.quota_share on, 75 % unless set.
            """, (6, 3), [now(f"max({OWN}api_usage_ratio{{SOURCES}})", "used")], "percentunit", decimals=0,
             names="value", letters=(14, 30), thresholds=steps(GOOD, (0.75, NEAR), (0.9, BAD)), none="not told"),
        stat("API version", "The version that was asked for and the one that answered last. They differ when the first is retired.",
             (6, 3), [now(f'max by (configured, answered) ({OWN}api_version_info{{job="$job"}})', "{{configured}} → {{answered}}")],
             "none", names="name", fixed="text", letters=(20, 20)),
        stat("Config", "Whether the last attempt to load the config succeeded.", (6, 3),
             [now(f'min({OWN}config_last_reload_successful{{job="$job"}})', "loaded")], "none", names="value",
             letters=(14, 26), thresholds=steps(BAD, (1, GOOD)), more={"mappings": [
                 {"type": "value", "options": {"0": {"text": "refused", "index": 0}, "1": {"text": "in force", "index": 1}}}]}),

        lines("Age of the data by business", """
            How long ago the least recently read source of each business was read. It saws between
            zero and the polling interval.
            """, (12, 8), [over_time("max by (business) (source:marketing_messages_age:seconds{SOURCES})", "{{business}}")],
              "s"),
        lines("Polls a minute, failed by reason", """
            Polls that ended, and those that failed by the reason of their first fault. All but the
            first line should lie on the ground.
            """, (12, 8), [
                over_time(f"60 * sum(rate({OWN}polls_total{{SOURCES}}[$__rate_interval]))", "all polls"),
                over_time(f"60 * sum by (reason) (rate({OWN}poll_failures_total{{SOURCES}}[$__rate_interval]))",
                          "failed: {{reason}}"),
                over_time(f"60 * sum(rate({OWN}polls_skipped_total{{SOURCES}}[$__rate_interval]))", "skipped"),
            ], "none", overrides=[
                override("byName", "all polls", color={"mode": "fixed", "fixedColor": PLAIN})]),

        lines("API requests a minute by endpoint", "Requests to the Graph API, failed ones included.", (8, 8), [
            over_time(f"60 * sum by (endpoint) (rate({OWN}api_requests_total{{SOURCES}}[$__rate_interval]))", "{{endpoint}}"),
        ], "none", stacked=True),
        lines("API errors a minute by reason and code", "Requests that failed; the code is Meta's.", (8, 8), [
            over_time(f"""
                60 * sum by (reason, code) (rate({OWN}api_request_errors_total{{SOURCES}}[$__rate_interval]))
                or on ()
                label_replace(label_replace(vector(0), "reason", "no errors", "", ""), "code", "so far", "", "")
                """, "{{reason}} {{code}}"),
        ], "none", none="no errors"),
        lines("How long the API takes", "Half and all but a twentieth of the requests are answered within this time.", (8, 8), [
            over_time(f'histogram_quantile(0.5, sum by (le) (rate({OWN}api_request_duration_seconds_bucket{{job="$job"}}[$__rate_interval])))', "half"),
            over_time(f'histogram_quantile(0.95, sum by (le) (rate({OWN}api_request_duration_seconds_bucket{{job="$job"}}[$__rate_interval])))', "95 %"),
        ], "s"),

        lines("Quota in use", """
            What Meta's usage headers said last, the highest of each kind of limit. Dashed: from
            75 % on the exporter slows down, above 90 % an alert fires. Messages are sent from the same
            quota.
            """, (14, 9), [
                over_time(f"max by (business, limit) ({OWN}api_usage_ratio{{SOURCES}})", "{{business}} {{limit}}"),
            ], "percentunit", decimals=0, limit=True, thresholds=steps("transparent", (0.75, NEAR), (0.9, BAD)),
              soft_max=1, legend="table"),
        table("Tokens", """
            Whether the API takes the token of each business, when it expires (empty where it never
            does, or where no app secret allows to ask), and how many sources it reads.
            """, (10, 9), [
                column(f"min by (business) ({OWN}token_valid{{SOURCES}})"),
                column(f"min by (business) ({OWN}token_expires_timestamp_seconds{{SOURCES}}) - time()"),
                column(f"sum by (business) (max by (business, source) (marketing_messages_up{{SOURCES}} * 0 + 1))"),
                column("max by (business) (source:marketing_messages_age:seconds{SOURCES})"),
            ], [
                ("business", "Business", {}),
                ("Value #A", "Token", {"custom__cellOptions": {"type": "color-text"}, "color": {"mode": "thresholds"},
                                       "thresholds": steps(BAD, (1, GOOD)), "mappings": [
                    {"type": "value", "options": {"0": {"text": "refused", "index": 0}, "1": {"text": "valid", "index": 1}}}]}),
                ("Value #B", "Expires in", {"unit": "s", "decimals": 0}),
                ("Value #C", "Sources", {"unit": "none"}),
                ("Value #D", "Oldest data", {"unit": "s", "decimals": 0}),
            ], join="business", none=""),

        table("Sources", """
            Every source and window: whether its last poll succeeded, how old its numbers are and what
            that is of the time that they are believed (an alert fires from 50 % on), how long a poll
            takes, when the next one is due, and how long it is held off.
            """, (24, 11), [
                by_source("marketing_messages_up{SOURCES}", "business", "source", "window"),
                by_source("source:marketing_messages_age:seconds{SOURCES}"),
                by_source("source:marketing_messages_age:seconds{SOURCES}\n"
                          f"        / on (job, instance, business, source, window) {OWN}stale_after_seconds"),
                by_source(f"{OWN}poll_duration_seconds{{SOURCES}}"),
                by_source(f"1000 * {OWN}next_poll_timestamp_seconds{{SOURCES}}"),
                by_source("clamp_min(\n"
                          "          marketing_messages_up{SOURCES} * 0\n"
                          "            + on (job, instance, business, source) group_left ()\n"
                          f"              ({OWN}api_held_until_timestamp_seconds - time()), 0\n"
                          "        ) or marketing_messages_up{SOURCES} * 0"),
            ], [
                ("business", "Business", {}),
                ("source", "Source", {"custom__width": 200}),
                ("window", "Window", {}),
                ("Value #A", "Last poll", {"custom__cellOptions": {"type": "color-text"}, "color": {"mode": "thresholds"},
                                           "thresholds": steps(BAD, (1, GOOD)), "mappings": [
                    {"type": "value", "options": {"0": {"text": "failed", "index": 0}, "1": {"text": "succeeded", "index": 1}}}]}),
                ("Value #B", "Age", {"unit": "s", "decimals": 0}),
                ("Value #C", "Of what is believed", {"unit": "percentunit", "decimals": 0, "color": {"mode": "thresholds"},
                                                     "custom__cellOptions": {"type": "color-background", "mode": "basic"},
                                                     "thresholds": steps(GOOD, (0.5, NEAR), (1, BAD))}),
                ("Value #D", "Poll took", {"unit": "s", "decimals": 2}),
                ("Value #E", "Next poll", {"unit": "dateTimeFromNow"}),
                ("Value #F", "Held off for", {"unit": "s", "decimals": 0}),
            ], join="key", sort=("Of what is believed", True), none=""),

        lines("Page", "Series of the campaign page. They grow with campaigns, windows and action types.", (6, 7), [
            over_time(f'sum by (instance) ({OWN}page_series{{job="$job"}})', "{{instance}}")], "locale", decimals=0),
        lines("Page size", "The campaign page as plain text; on the wire it is compressed.", (6, 7), [
            over_time(f'sum by (instance) ({OWN}page_bytes{{job="$job"}})', "{{instance}}")], "bytes"),
        lines("Scrape", "How long a scrape by Prometheus takes.", (6, 7), [
            over_time('scrape_duration_seconds{job="$job"}', "{{instance}}")], "s"),
        lines("Memory", "Resident memory of each exporter.", (6, 7), [
            over_time('process_resident_memory_bytes{job="$job"}', "{{instance}}")], "bytes"),

        table("Exporters", "Versions, shards and how much processor time each exporter uses.", (12, 7), [
                column(f'max by (instance, version, revision) ({OWN}build_info{{job="$job"}})'),
                column(f'max by (instance, index, count) ({OWN}shard_info{{job="$job"}})'),
                column('max by (instance) (time() - process_start_time_seconds{job="$job"})'),
                column('max by (instance) (rate(process_cpu_seconds_total{job="$job"}[$__rate_interval]))'),
                column(f'max by (instance) (time() - {OWN}config_last_reload_success_timestamp_seconds{{job="$job"}})'),
            ], [
                ("instance", "Exporter", {"custom__width": 150}),
                ("version", "Version", {"custom__width": 80}),
                ("revision", "Revision", {"custom__width": 125}),
                ("index", "Shard", {"custom__width": 65}),
                ("count", "of", {"custom__width": 50}),
                ("Value #C", "Runs for", {"unit": "s", "decimals": 0}),
                ("Value #D", "Processor", {"unit": "percentunit", "decimals": 2}),
                ("Value #E", "Config loaded", {"unit": "s", "decimals": 0}),
            ], join="instance", none=""),
        table("Fields that the API refuses", """
            No longer asked for, so their metrics are absent. Empty is good.
            """, (6, 7), [column(f"max by (business, field) ({OWN}field_rejected{{SOURCES}} == 1)")], [
                ("business", "Business", {"custom__width": 100}), ("field", "Field", {}),
            ], none="", unit="none"),
        table("Values that were no numbers", """
            Values in answers of the API that were no finite number, and so left out, by field, in the
            time shown. Empty is good.
            """, (6, 7), [column(f'sum by (field) (increase({OWN}values_rejected_total{{job="$job"}}[$__range])) > 0')], [
                ("field", "Field", {}), ("Value #A", "Values", {"decimals": 0, "custom__width": 80}),
            ], none="", unit="none"),
    ],
    annotations=[
        annotation("Restarts", """
            changes(process_start_time_seconds{job="$job"}[$__interval]) > 0
            """, "Restart", "{{instance}}", PLAIN),
        annotation("Config loaded", """
            changes(marketing_messages_exporter_config_last_reload_success_timestamp_seconds{job="$job"}[$__interval]) > 0
            """, "Config loaded", "{{instance}}", GOOD, on=False),
        annotation("Alerts", """
            max by (alertname, severity, business) (ALERTS{ALERTS, business=~"$business|", campaign_id=""})
            """, "{{alertname}}", "{{business}}", BAD),
    ],
    since="now-6h", refresh="1m",
)
