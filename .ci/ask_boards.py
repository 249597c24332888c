#!/usr/bin/env python3
"""Asks a Prometheus everything that the boards ask, as Grafana would.

usage: ask_boards.py PROMETHEUS_URL DASHBOARD.json...

Every variable must have values; every panel query and its legend labels must come back with data,
every number finite; every annotation must be taken. Exit status 1 says that something is missing.
What compares with a past that is not there yet, or shows what goes wrong, may be empty; it must
be taken all the same.
"""
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Queries that may come back empty from a demo that has just begun and in which nothing goes wrong.
MAY_BE_EMPTY = {
    "the past": r"\boffset\b",
    "alerts": r"\bALERTS\b",
    "faults": r"field_rejected|values_rejected_total",
    "no app secret in the demo": r"token_expires",
    "too early in the day, somewhere": r"projected_spend|day_passed",
    "no limit of that kind on the campaign chosen": r"_threshold\{",
}
SPAN = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def ask(url, path, **query):
    body = urllib.parse.urlencode(query, doseq=True)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{body}", timeout=20) as answer:
        return json.load(answer)["data"]


def interpolated(text, env):
    def value(match):
        name = match[1] or match[2]
        if name not in env:
            raise KeyError(f"no variable ${name}")
        return env[name]
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, text)


def values_of(url, variable, env):
    """(value, text) of each option, as Grafana reads them."""
    query = interpolated(variable["query"]["query"], env)
    labels = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query)
    if labels:
        return [(v, v) for v in ask(url, f"label/{labels[2]}/values", **{"match[]": labels[1]})]
    result = re.fullmatch(r"query_result\((.+)\)", query)
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = []
    for series in ask(url, "query", query=result[1])["result"]:
        # Grafana does not escape what stands in the quotes.
        metric = ",".join(f'{k}="{v}"' for k, v in series["metric"].items() if k != "__name__")
        match = pattern.search(f"{{{metric}}} {series['value'][1]} {series['value'][0]}")
        if match:
            found.append((match["value"], match["text"] or match["value"]))
    return found


def environment(url, board, complain):
    hours = re.fullmatch(r"now-(\d+)([smhd])", board["time"]["from"])
    span = int(hours[1]) * SPAN[hours[2]]
    step = max(15, span // 1000)
    env = {"__interval": f"{step}s", "__rate_interval": f"{max(step + 15, 60)}s", "__range": f"{span}s",
           "datasource": "prometheus"}
    for variable in board["templating"]["list"]:
        if variable["type"] == "textbox":
            env[variable["name"]] = variable["query"]
        if variable["type"] != "query":
            continue
        values = values_of(url, variable, env)
        print(f"  ${variable['name']}: {len(values)} values, such as {values[:2]}")
        if not values:
            complain(f"variable ${variable['name']} has no values")
        if len({v for v, _ in values}) < len(values):
            complain(f"variable ${variable['name']} has a value twice")
        every = "(" + "|".join(re.escape(v) for v, _ in values) + ")"
        if variable["multi"]:
            env[variable["name"]] = variable.get("allValue", every)
        else:
            first = variable.get("current", {}).get("value")
            env[variable["name"]] = first or (values[0][0] if values else "")
    return env


def asked(url, target, env):
    """The series that a panel query returns, each with its list of [time, value]. Of the time that
    the board shows only the last minutes are asked for: a young Prometheus has no more."""
    expr, now = interpolated(target["expr"], env), time.time()
    if target["instant"]:
        return [(s["metric"], [s["value"]]) for s in ask(url, "query", query=expr, time=now)["result"]]
    answer = ask(url, "query_range", query=expr, start=now - 120, end=now, step=5)
    return [(s["metric"], s["values"]) for s in answer["result"]]


def check(url, path):
    with open(path, encoding="utf-8") as file:
        board = json.load(file)
    complaints, empty = [], 0

    def complain(text):
        complaints.append(f"{board['title']}: {text}")

    env = environment(url, board, complain)
    queries = [(p["title"], t) for p in board["panels"] for t in p.get("targets", [])]
    for title, target in queries:
        where = f"panel «{title}» {target['refId']}"
        try:
            series = asked(url, target, env)
        except urllib.error.HTTPError as error:
            complain(f"{where}: {json.load(error)['error']}")
            continue
        excuse = [why for why, what in MAY_BE_EMPTY.items() if re.search(what, target["expr"], re.DOTALL)]
        if not series and not excuse:
            complain(f"{where}: returns nothing\n{interpolated(target['expr'], env)}")
        empty += not series
        for label in re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")):
            if not all(label in metric for metric, _ in series):
                complain(f"{where}: a series has no label {label} for its legend")
        if any(v in ("NaN", "+Inf", "-Inf") for _, points in series for _, v in points):
            complain(f"{where}: not every number is finite")
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            try:
                ask(url, "query", query=interpolated(annotation["expr"], env))
            except urllib.error.HTTPError as error:
                complain(f"annotation {annotation['name']}: {json.load(error)['error']}")
    print(f"  {board['title']}: {len(queries)} queries, {empty} of them empty")
    return complaints


def main():
    url, *paths = sys.argv[1:]
    complaints = [complaint for path in paths for complaint in check(url, path)]
    for complaint in complaints:
        print(f"FAIL {complaint}", file=sys.stderr)
    sys.exit(bool(complaints))


main()
