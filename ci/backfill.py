#!/usr/bin/env python3
"""Backfills a year of history and loads it into a Prometheus server that also scrapes the exporter.

`promtool tsdb create-blocks-from` converts the output of `backfill`. Backfilled and scraped samples must belong to the
same series.
"""

import json
import re
import shutil
import socket
import tempfile
import urllib.parse
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from processes import (
    ROOT,
    exporter_path,
    fetch,
    ready_page,
    require,
    run,
    run_check,
    spawn,
    start_demo,
    step,
    wait_until,
)

# Labels that the scrape config below adds to every series.
JOB, INSTANCE = "marketing-messages", "exporter:10919"

PROMETHEUS = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: {job}
    static_configs: [{{ targets: ["{target}"] }}]
    relabel_configs: [{{ target_label: instance, replacement: "{instance}" }}]
"""

CONFIG = """
graph: {{ url: "{url}" }}
businesses:
  - name: aurora
    access_token_file: {folder}/token
    labels: {{ team: growth }}
    ad_accounts: [{{ id: act_10150000000001101 }}, {{ id: act_10150000000001102 }}]
  - name: nordlicht
    access_token_file: {folder}/token
    ad_accounts: [{{ id: act_10150000000001201, campaigns: ["120210000000031000", "120210000000032000"] }}]
  - name: hinode
    access_token_file: {folder}/token
    ad_accounts: [{{ id: act_10150000000001301 }}]
"""

# The campaign of the detailed checks, and the UTC offset of its ad account.
CAMPAIGN, ZONE_HOURS = "120210000000041000", 9  # Asia/Tokyo, without daylight saving time


def check():
    with tempfile.TemporaryDirectory(prefix="ci-") as name, start_demo() as demo_process:
        folder = Path(name)
        url = demo_process.read_value("simulator").rstrip("/")
        (folder / "token").write_text(demo_process.read_value("token"))
        (folder / "config.yaml").write_text(CONFIG.format(url=url, folder=folder))
        live = [exporter_path(), f"--config.file={folder}/config.yaml", f"--web.listen-address={free_address()}"]
        with spawn(live, "exporter") as exporter_process:
            base = f"http://{live[-1].split('=')[1]}/"
            wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")
            history = write_history(folder)
            create_blocks(history, folder)
            check_combined(base, history, folder)
            exporter_process.terminate()
        demo_process.terminate()


def write_history(folder):
    """Runs `backfill` and returns the path of its output.

    The history ends two days ago, before the time range of Prometheus' in-memory head block.
    """
    now = datetime.now(UTC)
    since, last = (now - timedelta(days=400)).date(), (now - timedelta(days=2)).date()
    file = folder / "history.txt"
    with step("backfill writes a year of history") as note:
        done = run(
            exporter_path(),
            "backfill",
            f"--config.file={folder}/config.yaml",
            f"--since={since}",
            f"--until={last}",
            f"--output.file={file}",
            f"--label=job={JOB}",
            f"--label=instance={INSTANCE}",
            limit=120,
        )
        require(done.returncode == 0, f"backfill: exit status {done.returncode}: {done.stderr}")
        require(not Path(f"{file}.partial").exists(), "the journal is not removed")
        note(f"{file.stat().st_size} bytes")
    return file


def create_blocks(history, folder):
    with step("promtool creates blocks") as note:
        done = run(
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--max-block-duration=744h",
            str(history),
            f"{folder}/blocks",
            limit=120,
        )
        require(done.returncode == 0, f"promtool: exit status {done.returncode}: {done.stderr}")
        found = list((folder / "blocks").iterdir())
        require(len(found) > 5, f"{len(found)} blocks, expected more than 5")
        note(f"{len(found)} blocks")


def check_combined(base, history, folder):
    """Checks backfilled and scraped samples in one Prometheus server."""
    (folder / "prometheus.yaml").write_text(
        PROMETHEUS.format(job=JOB, instance=INSTANCE, target=urllib.parse.urlsplit(base).netloc)
    )
    address = free_address()
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.retention.time=3y",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    (folder / "data").mkdir()
    for path in (folder / "blocks").iterdir():
        shutil.move(path, folder / "data" / path.name)
    with spawn(command, "prometheus") as prometheus:
        api = f"http://{address}"
        with step("Prometheus loads the blocks and scrapes the exporter"):
            wait_until(lambda: fetch(f"{api}/-/ready")[0] == 200, 30, "Prometheus is ready")
            wait_until(lambda: query_api(api, "query", query="marketing_messages_spend"), 30, "a scraped sample")
        with step("Prometheus has every sample of the file exactly once") as note:
            lines = [line for line in history.read_text().splitlines() if not line.startswith("#")]
            newest = max(float(line.rsplit(" ", 1)[1]) for line in lines)
            names = {line.split("{")[0] for line in lines}
            counted = (f'sum(count_over_time({name}{{job="{JOB}"}}[420d]))' for name in names)
            stored = sum(float(query_api(api, "query", query=query, time=newest)[0]["value"][1]) for query in counted)
            require(stored == len(lines), f"{stored} samples, expected {len(lines)}")
            note(f"{len(lines)} samples")
        with step("samples have the values of the file"):
            for line in lines[:: max(1, len(lines) // 200)]:
                series, value, timestamp = line.rsplit(" ", 2)
                found = query_api(api, "query", query=series, time=timestamp)
                require(len(found) == 1, f"{line}: {found}")
                require(float(found[0]["value"][1]) == float(value), f"{line}: {found}")
        with step("backfilled and scraped samples belong to the same series") as note:
            time_range = {"start": newest - 400 * 86400, "end": datetime.now().timestamp()}
            for metric in ("spend", "delivered", "conversions", "conversion_value"):
                match = f'marketing_messages_{metric}{{window="today",campaign_id="{CAMPAIGN}"}}'
                past = query_api(api, "query", query=f"last_over_time({match}[30d])", time=newest)
                now = query_api(api, "query", query=match)
                require(past and now, f"{metric}: {len(past)} backfilled series, {len(now)} scraped series")
                require(label_sets(past) == label_sets(now), f"{label_sets(past) ^ label_sets(now)}")
                combined = query_api(api, "series", **{"match[]": match}, **time_range)
                require(len(combined) == len(now), f"{metric}: {len(combined)} series, expected {len(now)}")
            note("spend, delivered, conversions, conversion_value")
        with step("the daily totals of the recording rules are loaded") as note:
            totals = ("spend", "delivered", "link_clicks", "purchases", "purchase_value")
            for total in totals:
                match = f'day:marketing_messages_{total}:total{{job="{JOB}",campaign_id="{CAMPAIGN}"}}'
                days = query_api(api, "query", query=f"count_over_time({match}[30d])", time=newest)
                require(len(days) == 1 and float(days[0]["value"][1]) > 20, f"{total}: {days}")
                require("instance" not in days[0]["metric"], f"{days}")
            note(", ".join(totals))
        with step("a day's total is at the end of the day in the time zone of the ad account"):
            local = datetime.fromtimestamp(newest + 1, timezone(timedelta(hours=ZONE_HOURS)))
            day_end = local.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
            match = f'marketing_messages_spend{{window="today",campaign_id="{CAMPAIGN}"}}'
            day = query_api(api, "query", query=f"max_over_time({match}[1d])", time=day_end.timestamp())
            ends = f'marketing_messages_window_end_timestamp_seconds{{window="today",campaign_id="{CAMPAIGN}"}}'
            end = query_api(api, "query", query=ends, time=day_end.timestamp() - 1)
            require(float(end[0]["value"][1]) == day_end.timestamp(), f"{end}")
            counted = query_api(api, "query", query=f"count_over_time({match}[1d])", time=day_end.timestamp())
            require(day and counted[0]["value"][1] == "1", f"{counted}")
        with step("sum_over_time adds up 30 days") as note:
            query = f"sum_over_time({match}[30d])"
            spent = query_api(api, "query", query=query, time=newest)
            require(float(spent[0]["value"][1]) > 0, f"{spent}")
            note(f"{spent[0]['value'][1]} {spent[0]['metric']['currency']}")
        with step("the `days` dashboard shows a year") as note:
            note(", ".join(points_per_panel(api, newest)))
        prometheus.terminate()


def points_per_panel(api, newest):
    """Yields the maximum number of points per line for each query of the `days` dashboard."""
    panels = json.loads((ROOT / "grafana" / "dashboards" / "days.json").read_text())["panels"]
    variables = {"job": JOB, "window": "today"}
    # With a step of one day, Grafana aligns the points with midnight UTC.
    end = newest // 86400 * 86400
    for panel in panels:
        for target in panel["targets"]:
            query = re.sub(r"\$(\w+)", lambda name: variables.get(name[1], ".+"), target["expr"])
            rows = query_api(api, "query_range", query=query, start=end - 365 * 86400, end=end, step="1d")
            points = max((len(row["values"]) for row in rows), default=0)
            # The campaigns of the demo are younger than the year before.
            require(points > 100 or "offset 8725h" in query, f"{panel['title']}: {points} points of {query}")
            yield f"{target['legendFormat']} {points}"


def label_sets(rows):
    """Returns the labels of each row as JSON, ignoring the metric name, which PromQL functions remove."""
    return {json.dumps({**row["metric"], "__name__": None}, sort_keys=True) for row in rows}


def query_api(api, endpoint, **parameters):
    """Returns the data of an API response; of a query, only the result."""
    _, _, body = fetch(f"{api}/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}")
    answer = json.loads(body)
    require(answer["status"] == "success", f"{parameters}: {answer.get('error')}")
    return answer["data"]["result"] if endpoint.startswith("query") else answer["data"]


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


run_check(check)
