#!/usr/bin/env python3
"""Sends every query of the dashboards to Prometheus, as Grafana does.

Usage: query_dashboards.py PROMETHEUS_URL DASHBOARD.json...

Every variable must have values. Every panel query must return series with all labels of its legend and finite values.
Annotation queries must be valid. Queries that match `MAY_BE_EMPTY`, which need older data or a failure, must be valid
but may return nothing. The exit status is 1 if a check fails.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Patterns of queries that may return nothing in a new demo without failures, by reason.
MAY_BE_EMPTY = {
    "comparison with the past": r"\boffset\b",
    "the rules record a day in the morning of the next one": r"\bday:",
    "exchange rates are optional": r"fixed_rate:ratio",
    "alerts": r"\bALERTS\b",
    "failures": r"field_rejected|invalid_values_total|poll_failures_total",
    "the demo has no app secret": r"token_expires",
    "too early in the day of the ad account": r"projected_spend|day_passed",
    "the selected campaign has no such threshold": r"_threshold\{",
}
SPAN = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def query_api(url, path, **query):
    body = urllib.parse.urlencode(query, doseq=True)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{body}", timeout=20) as answer:
        return json.load(answer)["data"]


def interpolate(text, variables):
    """Replaces `$name` and `${name}` by the values of the variables."""

    def value(match):
        name = match[1] or match[2]
        if name not in variables:
            raise KeyError(f"unknown variable ${name}")
        return variables[name]

    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$([a-zA-Z_]\w*)", value, text)


def variable_values(url, variable, variables):
    """Returns value and text of each option of a variable, as Grafana computes them."""
    query = interpolate(variable["query"]["query"], variables)
    labels = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query)
    if labels:
        return [(v, v) for v in query_api(url, f"label/{labels[2]}/values", **{"match[]": labels[1]})]
    result = re.fullmatch(r"query_result\((.+)\)", query)
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = []
    for series in query_api(url, "query", query=result[1])["result"]:
        # Grafana does not escape label values.
        metric = ",".join(f'{k}="{v}"' for k, v in series["metric"].items() if k != "__name__")
        match = pattern.search(f"{{{metric}}} {series['value'][1]} {series['value'][0]}")
        if match:
            found.append((match["value"], match["text"] or match["value"]))
    return found


def resolve_variables(url, board, report):
    """Returns a value for each variable of the dashboard and for Grafana's built-in ones."""
    time_range = re.fullmatch(r"now-(\d+)([smhd])", board["time"]["from"])
    span = int(time_range[1]) * SPAN[time_range[2]]
    step = max(15, span // 1000)
    variables = {
        "__interval": f"{step}s",
        "__rate_interval": f"{max(step + 15, 60)}s",
        "__range": f"{span}s",
        "datasource": "prometheus",
    }
    for variable in board["templating"]["list"]:
        if variable["type"] == "textbox":
            variables[variable["name"]] = variable["query"]
        if variable["type"] != "query":
            continue
        values = variable_values(url, variable, variables)
        print(f"  ${variable['name']}: {len(values)} values, such as {values[:2]}")
        if not values:
            report(f"variable ${variable['name']} has no values")
        if len({v for v, _ in values}) < len(values):
            report(f"variable ${variable['name']} has duplicate values")
        any_value = "(" + "|".join(re.escape(v) for v, _ in values) + ")"
        if variable["multi"]:
            variables[variable["name"]] = variable.get("allValue", any_value)
        else:
            first = variable.get("current", {}).get("value")
            variables[variable["name"]] = first or (values[0][0] if values else "")
    return variables


def query_panel(url, target, variables):
    """Returns the labels and the [time, value] points of each series of a panel query.

    The time range is the last two minutes, because Prometheus has just been started.
    """
    expr, now = interpolate(target["expr"], variables), time.time()
    if target["instant"]:
        return [(s["metric"], [s["value"]]) for s in query_api(url, "query", query=expr, time=now)["result"]]
    answer = query_api(url, "query_range", query=expr, start=now - 120, end=now, step=5)
    return [(s["metric"], s["values"]) for s in answer["result"]]


def check(url, path):
    """Checks a dashboard and returns its problems."""
    with open(path, encoding="utf-8") as file:
        board = json.load(file)
    problems, empty = [], 0

    def report(text):
        problems.append(f"{board['title']}: {text}")

    variables = resolve_variables(url, board, report)
    queries = [(p["title"], t) for p in board["panels"] for t in p.get("targets", [])]
    for title, target in queries:
        location = f"panel «{title}» {target['refId']}"
        try:
            series = query_panel(url, target, variables)
        except urllib.error.HTTPError as error:
            report(f"{location}: {json.load(error)['error']}")
            continue
        reasons = [reason for reason, pattern in MAY_BE_EMPTY.items() if re.search(pattern, target["expr"], re.DOTALL)]
        if not series and not reasons:
            report(f"{location}: no result of\n{interpolate(target['expr'], variables)}")
        empty += not series
        for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")):
            if not all(label in metric for metric, _ in series):
                report(f"{location}: a series lacks the label {label} of the legend")
        if any(v in ("NaN", "+Inf", "-Inf") for _, points in series for _, v in points):
            report(f"{location}: a value is not finite")
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            try:
                query_api(url, "query", query=interpolate(annotation["expr"], variables))
            except urllib.error.HTTPError as error:
                report(f"annotation {annotation['name']}: {json.load(error)['error']}")
    print(f"  {board['title']}: {len(queries)} queries, {empty} without a result")
    return problems


def main():
    url, *paths = sys.argv[1:]
    problems = [problem for path in paths for problem in check(url, path)]
    for problem in problems:
        print(f"FAIL {problem}", file=sys.stderr)
    sys.exit(bool(problems))


main()
