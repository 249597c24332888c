#!/usr/bin/env python3
"""Runs the alerting rules over the days and weeks of simulated campaigns in prometheus/timelines.yaml.

usage: alert_timelines.py [--promtool PATH | --vmalert-tool PATH] [--file FILE] [--explain] [--max-hours N] [ID...]

Writes a unit test for promtool or vmalert-tool per timeline and runs them in parallel. --explain prints when each alert fires.
`prometheus/timelines.yaml` describes the format.
"""

import argparse
import concurrent.futures
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "prometheus" / "rules.yaml"
# Minutes between samples and between evaluations. All offsets of the rules are multiples of an hour, so that the longer
# step gives the same result for long timelines at a third of the time.
STEP_MINUTES, LONG_STEP_MINUTES = 5, 15
LONG_HOURS = 60
# vmalert does not see the results of a rule in the same evaluation, but in a later one within the lookback of 5 minutes.
VMALERT_STEP_MINUTES = 1
DAY_HOURS = 24
PURCHASE = "offsite_conversion.fb_pixel_purchase"
CHECKOUT = "offsite_conversion.fb_pixel_initiate_checkout"
DEFAULTS = {
    "poll": 0.25,
    "stale_after": 3600,
    "window": {"name": "today"},
    "status": "ACTIVE",
    "failed_polls": [],
    "campaigns": 1,
    "thresholds": {},
    "instances": [{"instance": "a:1"}],
}


def duration_hours(value):
    if isinstance(value, str):
        return float(value[:-1]) * {"h": 1, "m": 1 / 60, "d": 24}[value[-1]]
    return float(value)


def interpolate(points, at):
    """Linear between points, constant outside. Of two points at one hour, the later counts from this hour on."""
    value = points[0][1]
    for (start, first), (end, last) in zip(points, points[1:], strict=False):
        if start <= at < end:
            return first + (last - first) * (at - start) / (end - start)
        if at >= end:
            value = last
    return value


def needed_rules(alerts):
    """The groups of rules with the given alerts and the recording rules that they depend on. Evaluating only these takes a
    third of the time."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    expressions = {}
    for rule in (rule for group in groups for rule in group["rules"]):
        name = rule.get("record") or rule["alert"].removeprefix("MarketingMessages")
        expressions[name] = rule["expr"]
    needed, pending = set(), list(alerts)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += re.findall(r"\b[a-z]+:marketing_messages_\w+:\w+\b", expressions[name])
    for group in groups:
        group["rules"] = [
            rule
            for rule in group["rules"]
            if (rule.get("record") or rule["alert"].removeprefix("MarketingMessages")) in needed
        ]
    return {"groups": [group for group in groups if group["rules"]]}


class Day:
    """Bounds of the days of a timeline, in hours."""

    def __init__(self, timeline):
        length = timeline["length"]
        bounds = timeline.get("day_bounds") or range(0, int(length) + 2 * DAY_HOURS, DAY_HOURS)
        self.bounds = [-DAY_HOURS, *bounds, max(bounds) + DAY_HOURS]

    def start(self, at):
        return max(bound for bound in self.bounds if bound <= at)

    def end(self, at):
        return min(bound for bound in self.bounds if bound > at)


def value_at(spec, at, day):
    """Value of a timeline at a time, or None where it is absent."""
    if "daily" in spec:
        return interpolate(spec["daily"], at - day.start(at))
    if "hours" in spec:
        return interpolate(spec["hours"], at)
    if "x24" in spec:
        return spec["x24"] * (at - day.start(at))
    if "rate" in spec:
        # Value per hour that changes at hours, counted from each midnight.
        start, total = day.start(at), 0.0
        changes = [*spec["rate"], [float("inf"), 0]]
        for (begin, rate), (end, _) in zip(changes, changes[1:], strict=False):
            total += rate * max(0.0, min(at, end) - max(start, begin))
        return total
    raise ValueError(f"unknown timeline {spec}")


class Timeline:
    def __init__(self, timeline, all_timelines, step=None):
        if "like" in timeline:
            base = copy.deepcopy(next(t for t in all_timelines if t["id"] == timeline["like"]))
            for key in ("fires", "silent", "id", "what"):
                base.pop(key, None)
            timeline = {**base, **timeline}
        for metric in ("spend", "value"):
            if f"{metric}_rate" in timeline:
                name = "purchase_value" if metric == "value" else metric
                timeline[name] = {"rate": timeline[f"{metric}_rate"]}
        self.t = {**copy.deepcopy(DEFAULTS), **timeline}
        self.day = Day(self.t)
        self.poll = duration_hours(self.t["poll"])
        self.length = self.t["length"]
        self.step = step or (LONG_STEP_MINUTES if self.length > LONG_HOURS else STEP_MINUTES)
        self.series = {}

    def times(self):
        count = int(self.length * 60 / self.step) + 1
        return [index * self.step / 60 for index in range(count)]

    def add(self, name, labels, values):
        text = ", ".join(f"{key}={json.dumps(str(value))}" for key, value in labels.items() if value is not None)
        self.series[f"{name}{{{text}}}"] = values

    def last_polls(self, phase, down_from):
        """Time of the last good poll at each time, or None."""
        failed = {round(at, 4) for at in self.t["failed_polls"]}
        result = []
        for at in self.times():
            poll = None
            if down_from is None or at < down_from:
                index = int((at - phase) / self.poll + 1e-9)
                while index >= 0:
                    candidate = index * self.poll + phase
                    if round(candidate, 4) not in failed and candidate <= at + 1e-9:
                        poll = candidate
                        break
                    index -= 1
            result.append(poll)
        return result

    def build(self):
        for instance in self.t["instances"]:
            self.build_instance(instance)
        return self.series

    def build_instance(self, instance):
        t = self.t
        target = {"job": "marketing-messages", **{k: v for k, v in instance.items() if k not in ("phase", "down_from")}}
        down_from = instance.get("down_from", t.get("exporter_dies"))
        times = self.times()
        polls = self.last_polls(instance.get("phase", 0), down_from)
        alive = [down_from is None or at < down_from for at in times]
        self.add("up", target, [1 if is_alive else 0 for is_alive in alive])
        base = {**target, "business": "acme"}
        windows = [(t["window"], t)]
        if "second_window" in t:
            second = t["second_window"]
            constant = {
                key: {"hours": [[0, second[key]]]} for key in ("spend", "purchases", "purchase_value") if key in second
            }
            thresholds = t["thresholds"] if second.get("thresholds") == "same" else second.get("thresholds", {})
            windows.append(
                (
                    {"name": second["name"], "start": -696, "end": 24},
                    {**t, **constant, "thresholds": thresholds},
                )
            )
        for window, values in windows:
            source = {**base, "source": "act_1", "window": window["name"]}
            failing = t.get("query_fails")
            exists = [1 if is_alive else None for is_alive in alive]
            self.add("marketing_messages_up", source, [v if v is None or not failing else 0 for v in exists])
            self.add(
                "marketing_messages_exporter_stale_after_seconds",
                source,
                [v and t["stale_after"] for v in exists],
            )
            self.add(
                "marketing_messages_exporter_poll_interval_seconds", source, [v and self.poll * 3600 for v in exists]
            )
            for query in ("delivery", "conversions"):
                stamps = [None if poll is None else poll * 3600 for poll in polls]
                if failing == query:
                    stamps = [None if poll is None else 0 for poll in polls]
                self.add("marketing_messages_query_last_success_timestamp_seconds", {**source, "query": query}, stamps)
            for index in range(t["campaigns"]):
                self.build_campaign(base, window, values, index, polls, times)
        if "settle_after" in t:
            self.add(
                "marketing_messages_exporter_settle_after_seconds",
                target,
                [v and duration_hours(t["settle_after"]) * 3600 for v in exists],
            )
        for key, name in (("token_valid", "token_valid"), ("token_expires", "token_expires_timestamp_seconds")):
            if key in t:
                value = t[key] * 3600 if key == "token_expires" else t[key]
                self.add(f"marketing_messages_exporter_{name}", base, [v and value for v in exists])
                if value == 0:
                    self.add(f"marketing_messages_exporter_{name}", base, [v if v is None else 0 for v in exists])
        for index in range(t["campaigns"]):
            self.build_properties(base, index, times, exists)

    def campaign_labels(self, base, index):
        campaign_id = "10" if self.t["campaigns"] == 1 else str(100 + index)
        return {**base, "account_id": "1", "campaign_id": campaign_id, "campaign_name": self.t.get("name", "Spring")}

    def build_properties(self, base, index, times, exists):
        t = self.t
        labels = self.campaign_labels(base, index)
        status = t["status"]
        points = status["hours"] if isinstance(status, dict) else [[0, status]]
        end = t.get("campaign_end")
        for name in {value for _, value in points} | ({"ENDED"} if end is not None else set()):
            values = []
            for at, exist in zip(times, exists, strict=True):
                current = [value for since, value in points if since <= at][-1]
                if end is not None and at >= end and current == "ACTIVE":
                    current = "ENDED"
                values.append(1 if exist and current == name else None)
            self.add("marketing_messages_campaign_info", {**labels, "currency": "USD", "status": name}, values)
        money = {**labels, "currency": "USD"}
        for budget in ("daily_budget", "lifetime_budget"):
            if budget in t:
                value = t[budget]
                values = (
                    [value] * len(times)
                    if not isinstance(value, dict)
                    else [[v for since, v in value["hours"] if since <= at][-1] for at in times]
                )
                self.add(
                    f"marketing_messages_campaign_{budget}",
                    money,
                    [exist and v for exist, v in zip(exists, values, strict=True)],
                )
        if end is not None:
            self.add("marketing_messages_campaign_end_timestamp_seconds", labels, [e and end * 3600 for e in exists])
        if "issue" in t:
            issue = dict(t["issue"])
            since = issue.pop("from")
            self.add(
                "marketing_messages_campaign_issue_info",
                {**labels, **issue},
                [1 if e and at >= since else None for e, at in zip(exists, times, strict=True)],
            )

    def build_campaign(self, base, window, values, index, polls, times):
        labels = {**self.campaign_labels(base, index), "window": window["name"]}
        withheld = self.t.get("rows_withheld")
        if withheld:
            own = {k: labels[k] for k in labels if k != "campaign_name"}
            self.add(
                "marketing_messages_exporter_rows_withheld",
                {**own, "reason": withheld},
                [None if poll is None else 1 for poll in polls],
            )
        for name, value in values["thresholds"].items():
            self.add(
                f"marketing_messages_{name}_threshold", labels, [None if poll is None else value for poll in polls]
            )
        if withheld == "dates":
            return
        bounds = {
            "start": (lambda at: window["start"]) if "start" in window else self.day.start,
            "end": (lambda at: window["end"]) if "end" in window else self.day.end,
        }
        for bound, function in bounds.items():
            if window.get(bound) == "none":
                continue
            self.add(
                f"marketing_messages_window_{bound}_timestamp_seconds",
                labels,
                [None if poll is None else function(poll) * 3600 for poll in polls],
            )
        money = {**labels, "currency": "USD"}

        def sampled(key):
            return [None if poll is None else value_at(values[key], poll, self.day) for poll in polls]

        if "spend" in values:
            spend = sampled("spend")
            self.add("marketing_messages_spend", money, spend)
            delivered = [None if value is None else round(70 * value) for value in spend]
            self.add("marketing_messages_delivered", labels, delivered)
            self.add(
                "marketing_messages_link_clicks", labels, [None if v is None else round(v / 20) for v in delivered]
            )
        if withheld == "attribution" or values.get("query_fails") == "conversions":
            return
        for key, action in (("purchases", PURCHASE), ("checkouts", CHECKOUT)):
            if key in values:
                counts = [None if value is None else int(value + 1e-6) for value in sampled(key)]
                self.add("marketing_messages_conversions", {**labels, "action_type": action}, counts)
        if "purchase_value" in values:
            self.add(
                "marketing_messages_conversion_value", {**money, "action_type": PURCHASE}, sampled("purchase_value")
            )

    def test(self):
        checks = []

        def check(expr, end, expected, what):
            checks.append({"expr": expr, "at": end, "expected": expected, "what": what})

        for name in self.t.get("silent", []):
            start = self.t.get("from", 0)
            selector = f'ALERTS{{alertname="MarketingMessages{name}", alertstate="firing"}}'
            check(
                f"clamp_max(count(count_over_time({selector}[{minutes(self.length - start)}])), 1) or vector(0)",
                self.length,
                0,
                f"{name} is silent",
            )
        for fire in self.t.get("fires", []):
            first, last = fire["between"]
            selector = f'ALERTS{{alertname="MarketingMessages{fire["alert"]}", alertstate="firing"}}'
            if fire.get("throughout"):
                expr = (
                    f"(min_over_time((count({selector}) or vector(0))[{minutes(last - first)}:{self.step}m]) > bool 0)"
                )
            else:
                expr = f"clamp_max(count(count_over_time({selector}[{minutes(last - first)}])), 1) or vector(0)"
            check(expr, last, 1, f"{fire['alert']} fires between {first} and {last} h")
            if "count" in fire:
                check(f"count({selector}) or vector(0)", last, fire["count"], f"{fire['count']} {fire['alert']}")
        return checks

    def alerts(self):
        return {*self.t.get("silent", []), *(fire["alert"] for fire in self.t.get("fires", []))}

    def document(self, explain, rules_file, groups):
        checks = self.test()
        tests = [
            {
                "expr": check["expr"],
                "eval_time": minutes(check["at"]),
                "exp_samples": [{"labels": "{}", "value": check["expected"]}],
            }
            for check in checks
        ]
        if explain:
            hours = int(self.length * 60 / self.step) + 1
            tests += [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing", alertname!="MarketingMessagesWatchdog"})',
                    "eval_time": minutes(step * self.step / 60),
                    "exp_samples": [],
                }
                for step in range(hours)
            ]
        series = self.build()
        return {
            "rule_files": [str(rules_file)],
            "evaluation_interval": f"{self.step}m",
            "group_eval_order": [group["name"] for group in groups],
            "tests": [
                {
                    "name": self.t["id"],
                    "interval": f"{self.step}m",
                    "input_series": [
                        {"series": name, "values": " ".join("_" if v is None else f"{v:.10g}" for v in values)}
                        for name, values in series.items()
                    ],
                    "promql_expr_test": tests,
                }
            ],
        }, checks


def minutes(hours):
    return f"{round(hours * 60)}m"


def run(timeline, tool, explain, is_vmalert=False):
    """Returns the id, the errors and, with `explain`, the times at which alerts fire."""
    rules = needed_rules(timeline.alerts())
    with tempfile.TemporaryDirectory(prefix="timeline-") as folder:
        rules_file, path = Path(folder) / "rules.yaml", Path(folder) / "test.yaml"
        rules_file.write_text(yaml.dump(rules, width=10**9, sort_keys=False))
        document, checks = timeline.document(explain, rules_file, rules["groups"])
        command = [tool, "test", "rules", str(path)]
        if is_vmalert:
            for test in document["tests"]:
                test["metricsql_expr_test"] = test.pop("promql_expr_test")
            command = [tool, "unittest", f"--files={path}", "--disableAlertgroupLabel"]
        path.write_text(yaml.dump(document, width=10**9, sort_keys=False))
        result = subprocess.run(command, capture_output=True, text=True)
    output = result.stdout + result.stderr
    if explain:
        return timeline.t["id"], explained(output), output
    errors = []
    if result.returncode:
        errors = [c["what"] for c in checks if f"expr: {json.dumps(c['expr'])}, time: {go_duration(c['at'])}" in output]
        if is_vmalert:
            errors = [c["what"] for c in checks if f"expr: {json.dumps(c['expr'])}" in output]
        errors = errors or [output[-2000:]]
    return timeline.t["id"], errors, output


def go_duration(hours):
    """Duration as promtool prints it: weeks only if they are whole."""
    minutes = round(hours * 60)
    if minutes and minutes % (7 * 24 * 60) == 0:
        return f"{minutes // (7 * 24 * 60)}w"
    parts = []
    for unit, size in (("d", 24 * 60), ("h", 60), ("m", 1)):
        if minutes >= size:
            parts.append(f"{minutes // size}{unit}")
            minutes %= size
    return "".join(parts) or "0s"


def explained(output):
    """Spans at which each alert fires, from promtool's report of unexpected samples."""
    firing = {}
    at = None
    for line in output.splitlines():
        match = re.search(r"time: (?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:\d+s)?,", line)
        if match:
            weeks, days, hours, minutes = (int(value or 0) for value in match.groups())
            at = (weeks * 7 + days) * 24 + hours + minutes / 60
        for name in re.findall(r'alertname="MarketingMessages(\w+)"\} ', line):
            firing.setdefault(name, []).append(at)
    spans = []
    for name, times in sorted(firing.items()):
        start = previous = times[0]
        for current in [*times[1:], None]:
            if current is None or current - previous > 1.5 * LONG_STEP_MINUTES / 60:
                spans.append(f"{name} {start:.2f}-{previous:.2f}")
                start = current
            previous = current
    return spans


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--promtool", default="promtool")
    parser.add_argument("--vmalert-tool", help="used instead of promtool")
    parser.add_argument("--max-hours", type=float, default=float("inf"), help="skip longer timelines")
    parser.add_argument("--file", default=ROOT / "prometheus" / "timelines.yaml")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("ids", nargs="*")
    arguments = parser.parse_args()
    all_timelines = yaml.safe_load(Path(arguments.file).read_text())

    def length(timeline):
        base = next((t for t in all_timelines if t["id"] == timeline.get("like")), {})
        return {**base, **timeline}["length"]

    selected = [
        t for t in all_timelines if (not arguments.ids or t["id"] in arguments.ids) and length(t) <= arguments.max_hours
    ]
    tool = arguments.vmalert_tool or arguments.promtool
    is_vmalert = arguments.vmalert_tool is not None
    step = VMALERT_STEP_MINUTES if is_vmalert else None
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(run, Timeline(t, all_timelines, step), tool, arguments.explain, is_vmalert) for t in selected
        ]
        for job in jobs:
            name, lines, _ = job.result()
            failed += bool(lines) and not arguments.explain
            print(f"{name}: {'; '.join(lines) if lines else 'ok'}", flush=True)
    if arguments.explain:
        return
    print(f"{len(selected) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
