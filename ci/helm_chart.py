#!/usr/bin/env python3
"""Checks the Helm chart without a cluster.

Helm's own library lints, renders and packages the chart. The rendered objects are validated like the kustomize
manifests, the exporter accepts the rendered config and flags, and the values, their schema and the table in the README
have the same keys.
"""

import copy
import re
import sys
import tempfile
from pathlib import Path

from kubernetes import CONFIG_MAP_BYTES, Pod, count_rejected, find_one, validate
from processes import ROOT, Failure, require, run, run_check, step

try:
    import helm_python as helm
    import yaml
except ImportError as missing:
    sys.exit(f"{missing}; run the `prepare` step")

import tomllib  # Python 3.11

CHART = ROOT / "deploy" / "helm" / "marketing-messages-exporter"
NAME = "mm-marketing-messages-exporter"
# Smallest values with which the chart installs.
MINIMAL = {"config": {"businesses": [{"name": "acme", "access_token_file": "acme", "ad_accounts": [{"id": "act_1"}]}]}}
# Values that the schema must refuse.
INVALID_VALUES = [
    {"nonsense": 1},
    {"image": {"nonsense": 1}},
    {"shards": 0},
    {"shards": "two"},
    {"openshift": "yes"},
    {"log": {"level": "loud"}},
    {"service": {"port": 65536}},
    {"serviceMonitor": {"interval": "often"}},
    {"tokens": {"create": {"acme": 1}}},
    # Helm rounds this number to 120210000000000000.
    {"config": {"businesses": [{"name": "acme", "campaigns": [{"id": 120210000000000001}]}]}},
]
# Mappings with keys that are not part of the chart's interface.
OPAQUE_VALUES = {"podSecurityContext", "securityContext", "resources", "probes.startup", "probes.liveness"} | {
    "probes.readiness",
    "dashboards.annotations",
}


def check():
    everything = yaml.safe_load((CHART / "ci" / "all-values.yaml").read_text())
    with step("Helm lints the chart") as note:
        for values in (MINIMAL, everything):
            report = helm.lint(str(CHART), values, strict=True)
            problems = [message for message in report["messages"] if message["severity"] > 1]
            require(not report["errors"] and not problems, report)
        note(f"Helm {helm.helm_sdk_version()}")
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        with step("the packaged chart contains rules and dashboards, and renders the same objects"):
            archive = helm.package(str(CHART), destination=folder)
            objects = render(archive, everything)
            require(objects == render(CHART, everything), "the packaged chart renders other objects")
        with step("rendered objects are valid for Kubernetes and the Prometheus operator") as note:
            for obj in objects + render(archive, MINIMAL):
                validate(obj)
            note(f"{len(objects)} objects, {sum(count_rejected(obj) for obj in objects)} invalid variants refused")
        check_objects(objects)
        check_contents(objects)
        check_security(archive)
        check_probes(archive)
        with step("the exporter accepts the rendered config and flags"):
            for values in (MINIMAL, {**everything, "webConfig": {}}):
                rendered = render(archive, values)
                pod = Pod(Path(tempfile.mkdtemp(dir=folder)), rendered, find_one(rendered, "StatefulSet"), 0)
                done = run(*pod.check_command(), env=pod.environment)
                require(done.returncode == 0, done.stdout + done.stderr)
    check_values()


def render(path, values):
    """Returns the objects that the chart renders as a release `mm`."""
    with helm.Chart.load(str(path)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="mm", namespace="monitoring")
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return [obj for text in texts for obj in yaml.safe_load_all(text) if obj]


def check_objects(objects):
    with step("references between the objects are consistent"):
        stateful_set = find_one(objects, "StatefulSet")
        template = stateful_set["spec"]["template"]
        selector = stateful_set["spec"]["selector"]["matchLabels"]
        labels = template["metadata"]["labels"]
        service = find_one(objects, "Service")
        selectors = [
            selector,
            service["spec"]["selector"],
            find_one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            find_one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        ]
        for candidate in selectors:
            require(candidate.items() <= labels.items(), f"{candidate} does not select the pods")
        monitor = find_one(objects, "ServiceMonitor")["spec"]
        require(
            monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(),
            "the ServiceMonitor does not select the Service",
        )
        require(stateful_set["spec"]["serviceName"] == service["metadata"]["name"], "serviceName")
        (container,) = template["spec"]["containers"]
        claims = {claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]}
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        require(mounts == volumes | claims, f"mounts {mounts}, volumes {volumes | claims}")
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        require(environment["SHARD_COUNT"] == str(stateful_set["spec"]["replicas"]), "SHARD_COUNT")
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        require(container["image"].endswith(f":{version}"), container["image"])


def check_contents(objects):
    with step("rules and dashboards are those of the repository"):
        text = (ROOT / "prometheus" / "rules.yaml").read_text()
        # The addresses of ci/all-values.yaml.
        text = text.replace("https://runbooks.example.org/runbooks.md", "https://wiki.example.com/runbooks")
        text = text.replace("http://localhost:3000", "https://grafana.example.com")
        rules = yaml.safe_load(text)
        require(find_one(objects, "PrometheusRule")["spec"] == rules, "the rules differ from prometheus/rules.yaml")
        boards = {}
        for obj in objects:
            if obj["metadata"]["labels"].get("grafana_dashboard") == "1":
                size = sum(len(value.encode()) for value in obj["data"].values())
                require(size < CONFIG_MAP_BYTES, f"{obj['metadata']['name']} has {size} bytes")
                boards |= {name: text.rstrip("\n") for name, text in obj["data"].items()}
        files = {path.name: path.read_text().rstrip("\n") for path in (ROOT / "grafana/dashboards").glob("*.json")}
        require(boards == files, f"dashboards differ: {sorted(boards)}, expected {sorted(files)}")


def check_security(archive):
    with step("no fixed user; on OpenShift no fixed group either"):
        for openshift, groups in (("never", {"fsGroup"}), ("always", set())):
            objects = render(archive, {**MINIMAL, "openshift": openshift})
            spec = find_one(objects, "StatefulSet")["spec"]["template"]["spec"]
            contexts = [spec["securityContext"], spec["containers"][0]["securityContext"]]
            fixed = {key for context in contexts for key in context} & {"fsGroup", "runAsUser", "runAsGroup"}
            require(fixed == groups, f"openshift {openshift}: {fixed}")
            require(contexts[0]["runAsNonRoot"] and contexts[1]["readOnlyRootFilesystem"], contexts)
    with step("DNS is allowed to every address, as NodeLocal DNSCache needs it"):
        objects = render(archive, {**MINIMAL, "networkPolicy": {"enabled": True}})
        dns = find_one(objects, "NetworkPolicy")["spec"]["egress"][0]
        require("to" not in dns and {"port": 53, "protocol": "UDP"} in dns["ports"], dns)


def check_probes(archive):
    with step("probes use the health listener if it is enabled, and `healthcheck` with a web config"):
        web_config = {"webConfig": {"http_server_config": {"http2": False}}}
        for values, port, action in (
            ({}, 10920, ("httpGet", "health")),
            ({"probes": {"healthPort": 0}}, None, ("httpGet", "metrics")),
            ({**web_config, "probes": {"healthPort": 0}}, None, ("exec", None)),
            ({**web_config, "probes": {"healthPort": 8081}}, 8081, ("httpGet", "health")),
        ):
            objects = render(archive, {**MINIMAL, **values})
            (container,) = find_one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
            for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container[name]
                require(action[0] in probe, f"{name}: {probe}")
                require(action[0] == "exec" or probe["httpGet"]["port"] == action[1], f"{name}: {probe}")
            flags = [arg for arg in container["args"] if arg.startswith("--web.health-listen-address")]
            require(flags == ([f"--web.health-listen-address=:{port}"] if port else []), flags)


def check_values():
    with helm.Chart.load(str(CHART)) as chart:
        with step("the schema refuses invalid values") as note:
            for values in INVALID_VALUES:
                try:
                    chart.validate_schema({**copy.deepcopy(MINIMAL), **values})
                except helm.HelmValuesError:
                    continue
                raise Failure(f"the schema accepts {values}")
            note(f"{len(INVALID_VALUES)} cases")
        with step("without a config, the error names the value to set"):
            try:
                chart.render({}, name="mm")
            except helm.HelmRenderError as error:
                require("existingConfigMap" in str(error), error)
            else:
                raise Failure("the chart renders without a config")
        defaults, schema = chart.values, chart.schema
    with step("values.yaml, the schema and the table in the README have the same keys") as note:
        keys = set(value_paths(defaults))
        table = re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.M)
        require(sorted(keys) == sorted(table), f"README.md: {sorted(keys.symmetric_difference(table))}")
        known = set(schema_paths(schema)) - {"global"}
        require(keys <= known, f"not in the schema: {sorted(keys - known)}")
        note(f"{len(keys)} values")


def value_paths(values, prefix=""):
    """Yields the paths of the values that the README documents."""
    for key, value in values.items():
        path = prefix + key
        if isinstance(value, dict) and value and path not in OPAQUE_VALUES:
            yield from value_paths(value, f"{path}.")
        else:
            yield path


def schema_paths(schema, prefix=""):
    for key, value in schema.get("properties", {}).items():
        yield prefix + key
        if isinstance(value, dict):
            yield from schema_paths(value, f"{prefix}{key}.")


run_check(check)
