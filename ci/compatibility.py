#!/usr/bin/env python3
"""Checks that the exporter works with the oldest supported and the newest versions of the programs that read it.

Prometheus 2.42 is the version of Debian 12; the newest versions of Prometheus, Alertmanager and VictoriaMetrics are
those of Debian testing. Each program scrapes the demo, where possible with each scrape protocol and with and without
compression separately, and all of them must store the same series. Both versions check the rules, and the newest one
runs their tests. node_exporter's textfile collector and the strict parsers of prometheus_client read the output of `once`.
"""

import gzip
import json
import os
import re
import socket
import sys
import tempfile
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from processes import (
    DIRECT_OPENER,
    ROOT,
    campaign_section,
    exporter_path,
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
    target_dir,
    wait_until,
)

try:
    from prometheus_client import parser as text_parser
    from prometheus_client.openmetrics import parser as openmetrics_parser
except ImportError as missing:
    sys.exit(f"{missing}; run the `prepare` step")

TOOLS_DIR = Path(os.environ.get("CI_TOOLS", target_dir() / "ci"))
OLDEST, NEWEST = "bookworm", "testing"
RULES = ROOT / "prometheus" / "rules.yaml"
RULE_TESTS = sorted((ROOT / "prometheus").glob("*.test.yaml"))
# Each is the only protocol of one scrape job. If the exporter does not serve it, it answers in the text format 0.0.4.
SCRAPE_PROTOCOLS = (
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
    "PrometheusProto",
)
OPENMETRICS_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def check():
    with step("programs of Debian's suites are unpacked"):
        environment = {**os.environ, "CI_TOOLS": str(TOOLS_DIR)}
        done = run(str(ROOT / "ci/debian_programs.sh"), OLDEST, NEWEST, env=environment, limit=240)
        require(done.returncode == 0, done.stdout + done.stderr)
    for suite in (OLDEST, NEWEST):
        check_rules(suite)
        check_alertmanager(suite)
    with start_demo() as demo:
        base = demo.read_value("exporter")
        wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")
        check_encodings(base)
        for suite in (OLDEST, NEWEST):
            check_prometheus(suite, base)
        check_victoria_metrics(base)
        with tempfile.TemporaryDirectory(prefix="ci-") as folder:
            check_once(demo, Path(folder))
        demo.terminate()


def program(suite, name):
    """Returns the path of a program of a Debian suite."""
    path = TOOLS_DIR / "debian" / suite / "root/usr/bin" / name
    require(path.exists(), f"Debian {suite} has no {name}")
    return str(path)


def version(suite, package):
    """Returns the upstream version of a package of a Debian suite."""
    versions = (TOOLS_DIR / "debian" / suite / "versions").read_text()
    return re.search(rf"^{package} ([\d.]+)", versions, re.M).group(1)


def check_rules(suite):
    promtool = program(suite, "promtool")
    with step(f"promtool {version(suite, 'prometheus')} accepts rules and config") as note:
        for arguments in (
            ("check", "rules", str(RULES)),
            ("check", "config", "--syntax-only", str(ROOT / "prometheus/prometheus.yaml")),
        ):
            done = run(promtool, *arguments)
            require(done.returncode == 0, done.stdout + done.stderr)
        # The step `boards` runs the tests with the oldest version.
        for path in RULE_TESTS if suite == NEWEST else ():
            done = run(promtool, "test", "rules", str(path), limit=400)
            require(done.returncode == 0, (done.stdout + done.stderr)[-2000:])
            note(f"{path.name} passes")


def check_alertmanager(suite):
    config = ROOT / "prometheus" / "alertmanager.yaml"
    with step(f"Alertmanager {version(suite, 'prometheus-alertmanager')} runs with the example config") as note:
        done = run(program(suite, "amtool"), "check-config", str(config))
        require(done.returncode == 0, done.stdout + done.stderr)
        with tempfile.TemporaryDirectory(prefix="ci-") as folder:
            address = free_address()
            command = [
                program(suite, "prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ]
            with spawn(command, "alertmanager"):
                url = f"http://{address}/api/v2/alerts"
                wait_until(lambda: fetch(f"http://{address}/-/ready")[0] == 200, 30, "Alertmanager is ready")
                labels = {"alertname": "MarketingMessagesTokenInvalid", "severity": "critical", "business": "acme"}
                body = json.dumps([{"labels": labels}]).encode()
                request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with DIRECT_OPENER.open(request, timeout=10) as response:
                    require(response.status == 200, f"status {response.status}")
                (alert,) = wait_until(lambda: json.loads(fetch_text(url)), 10, "the alert is stored")
                note(f"routed to {alert['receivers'][0]['name']}")


def check_encodings(base):
    with step("gzip and identity have the same content, and strict parsers read every content type") as note:
        for accept in ("text/plain;version=0.0.4", OPENMETRICS_ACCEPT):
            # The page changes with every poll: the two requests are repeated until no poll was in between.
            page, content_type = wait_until(lambda accept=accept: same_pages(base, accept), 30, "two equal pages")
            note(content_type)
            parse(page, content_type)


def same_pages(base, accept):
    """Returns page and content type if gzip and identity agree in all campaign series, otherwise None."""
    pages = []
    for encoding in ("identity", "gzip"):
        status, headers, body = fetch(base + "metrics", {"Accept": accept, "Accept-Encoding": encoding})
        require(status == 200, f"status {status}")
        require(headers.get("Content-Encoding", "identity") == encoding, f"{encoding}: {headers}")
        pages.append((gzip.decompress(body) if encoding == "gzip" else body).decode())
    campaigns = [[line for line in sample_lines(page) if "_exporter_" not in line] for page in pages]
    # `process_*` changes with every request.
    campaigns = [[line for line in lines if not line.startswith("process_")] for lines in campaigns]
    return (pages[0], headers["Content-Type"]) if campaigns[0] == campaigns[1] else None


def parse(page, content_type):
    """Parses a page with the strict parser of its content type and returns the families."""
    is_openmetrics = content_type.startswith("application/openmetrics-text")
    parser = openmetrics_parser if is_openmetrics else text_parser
    families = list(parser.text_string_to_metric_families(page))
    require(any(family.name == "marketing_messages_spend" for family in families), "no spend on the page")
    parsed = sum(len(family.samples) for family in families)
    require(parsed == len(sample_lines(page)), f"{parsed} samples parsed of {len(sample_lines(page))}")
    return families


def check_prometheus(suite, base):
    number = version(suite, "prometheus")
    is_newest = suite == NEWEST
    # scrape_protocols exists since Prometheus 2.49, fallback_scrape_protocol since 3.0.
    jobs = [{"job_name": "marketing-messages"}]
    if is_newest:
        jobs += [
            {"job_name": name, "scrape_protocols": [name], "fallback_scrape_protocol": "PrometheusText0.0.4"}
            for name in SCRAPE_PROTOCOLS
        ]
        jobs += [{"job_name": "identity", "enable_compression": False}]
    targets = {"static_configs": [{"targets": [urllib.parse.urlsplit(base).netloc]}]}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{**job, **targets} for job in jobs],
    }
    with tempfile.TemporaryDirectory(prefix="ci-") as folder, ExitStack() as running:
        path = Path(folder) / "prometheus.yaml"
        # JSON is YAML.
        path.write_text(json.dumps(config))
        address = free_address()
        command = [
            program(suite, "prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
        running.enter_context(spawn(command, "prometheus"))
        api = f"http://{address}/api/v1"
        with step(f"Prometheus {number} scrapes the demo: {', '.join(job['job_name'] for job in jobs)}") as note:
            wait_until(lambda: fetch(f"http://{address}/-/ready")[0] == 200, 30, "Prometheus is ready")
            wait_until(lambda: len(query(api, "up == 1")) == len(jobs), 30, "every job is up")
            counts = wait_until(lambda: equal_counts(api, len(jobs)), 30, "every job stores the same series")
            note(f"{counts} campaign series each")
        with step(f"Prometheus {number} evaluates every rule"):
            wait_until(lambda: rules_are_healthy(api), 60, "every rule is evaluated", pause=0.5)


def equal_counts(api, jobs):
    """Returns the number of campaign series if it is the same for every job, otherwise None."""
    expression = 'count by (job) ({__name__=~"marketing_messages_.+", __name__!~".*_exporter_.*"})'
    found = {row["value"][1] for row in query(api, expression)}
    return found.pop() if len(found) == 1 and len(query(api, expression)) == jobs else None


def rules_are_healthy(api):
    groups = json.loads(fetch_text(f"{api}/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"]
    require(not broken, f"rules fail: {broken}")
    return rules and all(rule["health"] == "ok" for rule in rules)


def query(api, expression):
    parameters = urllib.parse.urlencode({"query": expression})
    return json.loads(fetch_text(f"{api}/query?{parameters}"))["data"]["result"]


def check_victoria_metrics(base):
    number = version(NEWEST, "victoria-metrics")
    with step(f"vmalert {number} accepts the rules"):
        done = run(program(NEWEST, "vmalert"), f"-rule={RULES}", "-dryRun")
        require(done.returncode == 0, done.stderr[-2000:])
    with step(f"vmalert {number} fires the alerts of the short timelines") as note:
        tool = program(NEWEST, "vmalert-tool")
        done = run(
            sys.executable, str(ROOT / "ci/alert_timelines.py"), f"--vmalert-tool={tool}", "--max-hours=12", limit=400
        )
        require(done.returncode == 0, done.stdout + done.stderr)
        note(done.stdout.splitlines()[-1])
    with tempfile.TemporaryDirectory(prefix="ci-") as folder, ExitStack() as running:
        config = Path(folder) / "scrape.yaml"
        targets = [{"targets": [urllib.parse.urlsplit(base).netloc]}]
        jobs = [
            {"job_name": "marketing-messages", "scrape_interval": "1s", "static_configs": targets},
            {
                "job_name": "identity",
                "scrape_interval": "1s",
                "disable_compression": True,
                "stream_parse": True,
                "static_configs": targets,
            },
        ]
        config.write_text(json.dumps({"scrape_configs": jobs}))
        storage, agent = free_address(), free_address()
        running.enter_context(
            spawn(
                [
                    program(NEWEST, "victoria-metrics"),
                    f"-storageDataPath={folder}/data",
                    f"-httpListenAddr={storage}",
                    "-search.latencyOffset=0s",
                ],
                "victoria-metrics",
            )
        )
        running.enter_context(
            spawn(
                [
                    program(NEWEST, "vmagent"),
                    f"-promscrape.config={config}",
                    "-promscrape.config.strictParse",
                    f"-remoteWrite.url=http://{storage}/api/v1/write",
                    f"-remoteWrite.tmpDataPath={folder}/queue",
                    f"-httpListenAddr={agent}",
                ],
                "vmagent",
            )
        )
        with step(f"vmagent {number} scrapes the demo and VictoriaMetrics stores the series") as note:
            api = f"http://{storage}/api/v1"
            wait_until(lambda: fetch(f"http://{storage}/health")[0] == 200, 30, "VictoriaMetrics is ready")
            wait_until(lambda: len(query(api, "up == 1")) == len(jobs), 60, "every job is up")
            note(f"{wait_until(lambda: equal_counts(api, len(jobs)), 60, 'equal series')} campaign series each")


def check_once(demo, folder):
    (folder / "token").write_text(demo.read_value("token"))
    url = demo.read_value("simulator")
    done = run(exporter_path(), "discover", f"--access-token-file={folder}/token", f"--graph.url={url}")
    require(done.returncode == 0, done.stderr)
    businesses = done.stdout
    if not businesses.lstrip().startswith(("businesses:", "graph:")):
        businesses = f"businesses:\n{businesses}"
    config = folder / "config.yaml"
    config.write_text(businesses if "\ngraph:" in f"\n{businesses}" else f"graph: {{ url: '{url}' }}\n{businesses}")
    pages = {}
    with step("strict parsers read `once`, as text and as OpenMetrics") as note:
        for output, content_type in (("text", "text/plain"), ("openmetrics", "application/openmetrics-text")):
            done = run(exporter_path(), "once", f"--config.file={config}", f"--output={output}")
            require(done.returncode == 0, done.stderr)
            pages[output] = done.stdout
            note(f"{output}: {len(parse(done.stdout, content_type))} families")
    with step(f"node_exporter {version(NEWEST, 'prometheus-node-exporter')} reads `once` as a textfile") as note:
        textfiles = folder / "textfiles"
        textfiles.mkdir()
        page = pages["text"]
        # node_exporter exports `process_*` itself, with other HELP texts.
        if "\nprocess_" in page:
            page = campaign_section(page)
            note("without the self metrics")
        (textfiles / "marketing-messages.prom").write_text(page)
        address = free_address()
        command = [
            program(NEWEST, "prometheus-node-exporter"),
            f"--web.listen-address={address}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={textfiles}",
            "--log.level=error",
        ]
        with spawn(command, "node_exporter") as process:
            scraped = wait_until(lambda: fetch_text(f"http://{address}/metrics"), 20, "node_exporter serves")
            require("\nnode_textfile_scrape_error 0" in scraped, "node_exporter reports an error of the textfile")
            errors = process.err.read_text() + process.out.read_text()
            require(not errors.strip(), errors)
            collected = [line for line in sample_lines(scraped) if line.startswith("marketing_messages_spend{")]
            expected = [line for line in sample_lines(page) if line.startswith("marketing_messages_spend{")]
            require(len(collected) == len(expected) > 0, f"{len(collected)} spends, expected {len(expected)}")
            note(f"{len(collected)} spends")


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


run_check(check)
