#!/usr/bin/env python3
"""Checks the Kubernetes manifests as far as possible without a cluster.

kubectl builds the manifests. Each object is validated against the schemas of the Kubernetes API and of the Prometheus
operator, where unknown fields are errors, and cross-references between objects are compared. Then the pods of the
StatefulSet run as local processes against the simulated Graph API: this script sets up the environment and the mounted
files as the kubelet does.
"""

import copy
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from processes import (
    ROOT,
    Failure,
    exporter_path,
    fetch_text,
    require,
    run,
    run_check,
    spawn,
    start_demo,
    step,
    wait_until,
)

try:
    import kubernetes_validate
    import yaml
    from cloudcoil.models.prometheus_operator import v1 as operator
except ImportError as missing:
    sys.exit(f"{missing}; run the `prepare` step")

import tomllib  # Python 3.11

MANIFESTS = ROOT / "deploy" / "kubernetes"
NAME = "marketing-messages-exporter"
SERVER_FLAGS = (
    "--config.auto-reload-interval",
    "--web.listen-address",
    "--web.health-listen-address",
    "--web.enable-lifecycle",
)
# The oldest supported version, and the newest version that kubernetes-validate has schemas of.
VERSIONS = ("1.28", kubernetes_validate.latest_version())
# Maximum size of a ConfigMap.
CONFIG_MAP_BYTES = 1024 * 1024
SHARDS = 3


def check():
    with step("the generated rules are up to date with prometheus/rules.yaml"):
        done = run(sys.executable, str(MANIFESTS / "generate.py"), "--check")
        require(done.returncode == 0, done.stderr)
    with step("kubectl builds the example") as note:
        objects = build(MANIFESTS / "example")
        note(f"{len(objects)} objects")
    with step(f"objects are valid for Kubernetes {' and '.join(VERSIONS)} and the Prometheus operator"):
        for obj in objects:
            validate(obj)
    with step("the component for OpenShift removes the fixed ids"):
        check_openshift()
    with step("unknown fields and strings in place of numbers are refused") as note:
        note(f"{sum(count_rejected(obj) for obj in objects)} invalid objects")
    with step("references between the objects are consistent"):
        check_names(objects)
    with step("rules and dashboards are those of the repository"):
        check_contents(objects)
    with step("the exporter accepts the config and the flags of the example"):
        check_config(objects)
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        check_pods(Path(folder))


def build(folder):
    done = run("kubectl", "kustomize", str(folder))
    require(done.returncode == 0, done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def validate(obj):
    kind = f"{obj['kind']}/{obj['metadata']['name']}"
    try:
        if obj["apiVersion"] == "monitoring.coreos.com/v1":
            model = getattr(operator, obj["kind"]).model_validate(obj)
            # The model drops unknown fields.
            dumped = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            require(dumped == obj, "an unknown field")
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(obj, version, strict=True)
    except Exception as error:
        raise Failure(f"{kind}: {str(error).splitlines()[0]}") from None


def count_rejected(obj):
    """Validates broken variants of the object and returns their number; raises `Failure` if one is accepted."""
    invalid = []
    for path in mapping_paths(obj):
        mapping = copy.deepcopy(obj)
        resolve(mapping, path)["nonsense"] = 1
        invalid.append(mapping)
        for key, value in resolve(obj, path).items():
            # These fields also accept strings: port names and percentages.
            if isinstance(value, int) and key not in ("port", "maxUnavailable"):
                mistyped = copy.deepcopy(obj)
                resolve(mistyped, path)[key] = "many"
                invalid.append(mistyped)
    for variant in invalid:
        try:
            validate(variant)
        except Failure:
            continue
        raise Failure(f"an invalid object is accepted: {yaml.safe_dump(variant)[:2000]}")
    return len(invalid)


# Mappings with arbitrary keys.
FREE_FORM_KEYS = {"labels", "annotations", "matchLabels", "data", "requests", "limits"}


def mapping_paths(obj, path=()):
    """Yields the paths of all mappings in the object; of a list, only those of the first item."""
    if isinstance(obj, dict):
        yield path
        for key, value in obj.items():
            if key not in FREE_FORM_KEYS:
                yield from mapping_paths(value, (*path, key))
    elif isinstance(obj, list) and obj:
        yield from mapping_paths(obj[0], (*path, 0))


def resolve(obj, path):
    for key in path:
        obj = obj[key]
    return obj


def find_one(objects, kind, name=None):
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    require(len(found) == 1, f"{len(found)} objects {kind} {name or ''}, expected 1")
    return found[0]


def check_names(objects):
    stateful_set, service = find_one(objects, "StatefulSet"), find_one(objects, "Service")
    template = stateful_set["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    monitor, budget = find_one(objects, "ServiceMonitor"), find_one(objects, "PodDisruptionBudget")
    for what, selector in {
        "StatefulSet": stateful_set["spec"]["selector"]["matchLabels"],
        "Service": service["spec"]["selector"],
        "PodDisruptionBudget": budget["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": find_one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    }.items():
        require(
            selector and selector.items() <= labels, f"the selector of {what} does not match the labels of the pods"
        )
    selected = monitor["spec"]["selector"]["matchLabels"]
    require(
        selected.items() <= service["metadata"]["labels"].items(),
        "the selector of the ServiceMonitor does not match the labels of the Service",
    )
    require(stateful_set["spec"]["serviceName"] == service["metadata"]["name"], "serviceName")
    (container,) = template["spec"]["containers"]
    (port, health), (service_port,) = container["ports"], service["spec"]["ports"]
    (endpoint,) = monitor["spec"]["endpoints"]
    require(endpoint["port"] == service_port["name"] and service_port["targetPort"] == port["name"], "ports")
    require({"targetLabel": "job", "replacement": "marketing-messages"} in endpoint["relabelings"], "job")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        require(container[probe]["httpGet"]["port"] == health["name"], probe)
    require(f"--web.health-listen-address=:{health['containerPort']}" in container["args"], "health port")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]}
    require(mounts == set(volumes) | claims, "volumeMounts differ from volumes and volumeClaimTemplates")
    require(
        not any("subPath" in mount for mount in container["volumeMounts"]), "files mounted with subPath are not updated"
    )
    find_one(objects, "ConfigMap", volumes["config"]["configMap"]["name"])
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    require(container["image"] == f"{NAME}:{version}", f"image {container['image']}, expected version {version}")
    security = template["spec"]["securityContext"]
    user = f"USER {security['fsGroup']}:{security['fsGroup']}"
    require(user in (ROOT / "Dockerfile").read_text(), f"the Dockerfile does not contain {user}")
    require("runAsUser" not in security, "a fixed user is refused by OpenShift")
    namespace = find_one(objects, "Namespace")["metadata"]["name"]
    for obj in objects:
        require(obj["kind"] == "Namespace" or obj["metadata"]["namespace"] == namespace, obj["kind"])


def check_openshift():
    with tempfile.TemporaryDirectory(prefix="ci-") as name:
        folder = Path(name)
        shutil.copytree(MANIFESTS, folder / "deploy" / "kubernetes")
        shutil.copytree(ROOT / "grafana", folder / "grafana")
        example = folder / "deploy" / "kubernetes" / "example"
        kustomization = example / "kustomization.yaml"
        kustomization.write_text(kustomization.read_text().replace("# - ../openshift", "- ../openshift"))
        spec = find_one(build(example), "StatefulSet")["spec"]["template"]["spec"]
        require(set(spec["securityContext"]) == {"runAsNonRoot", "seccompProfile"}, str(spec["securityContext"]))


def check_contents(objects):
    rules = yaml.safe_load((ROOT / "prometheus" / "rules.yaml").read_text())
    require(
        find_one(objects, "PrometheusRule")["spec"] == rules,
        "the rules of PrometheusRule differ from prometheus/rules.yaml",
    )
    boards = {}
    for obj in objects:
        if obj["metadata"].get("labels", {}).get("grafana_dashboard") == "1":
            size = sum(len(value.encode()) for value in obj["data"].values())
            require(size < CONFIG_MAP_BYTES, f"{obj['metadata']['name']} has {size} bytes")
            boards |= obj["data"]
    files = {path.name: path.read_text() for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
    require(boards == files, f"dashboards differ: {sorted(boards)}, expected {sorted(files)}")


def check_config(objects):
    stateful_set = find_one(objects, "StatefulSet")
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        pod = Pod(Path(folder), objects, stateful_set, 0)
        done = run(*pod.check_command(), env=pod.environment)
        require(done.returncode == 0, done.stdout + done.stderr)


class Pod:
    """A pod of the StatefulSet, with its volumes as folders that have the layout of the kubelet."""

    def __init__(self, folder, objects, stateful_set, ordinal):
        self.folder = folder / f"{stateful_set['metadata']['name']}-{ordinal}"
        spec = stateful_set["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        self.mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        labels = {
            **stateful_set["spec"]["template"]["metadata"]["labels"],
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        # The environment of this process is not inherited.
        self.environment = {"TZ": "UTC"}
        for entry in container["env"]:
            value = entry.get("value")
            if value is None:
                path = entry["valueFrom"]["fieldRef"]["fieldPath"]
                value = labels[re.fullmatch(r"metadata\.labels\['(.+)'\]", path).group(1)]
            self.environment[entry["name"]] = value
        # All pods share the ports of this host.
        self.arguments = [argument.replace("address=:10920", "address=127.0.0.1:0") for argument in container["args"]]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        config = find_one(objects, "ConfigMap", volumes["config"]["configMap"]["name"])
        self.write("config", {key: self.to_host_paths(value) for key, value in config["data"].items()})
        self.write("tokens", {})
        self.path("state").mkdir(parents=True)

    def path(self, volume):
        """Returns the path of a volume on the host."""
        return self.folder / self.mounts[volume].lstrip("/")

    def to_host_paths(self, text):
        """Replaces mount paths of the container by paths on the host."""
        for mount in self.mounts.values():
            text = text.replace(mount, f"{self.folder}{mount}")
        return text

    def write(self, volume, files):
        """Replaces the files of a volume atomically like the kubelet: new folder, then renamed `..data` link."""
        path = self.path(volume)
        path.mkdir(parents=True, exist_ok=True)
        old = path.joinpath("..data").resolve()
        new = Path(tempfile.mkdtemp(prefix="..", dir=path))
        for name, value in files.items():
            (new / name).write_text(value)
            if not (path / name).is_symlink():
                (path / name).symlink_to(f"..data/{name}")
        (path / "..data_tmp").symlink_to(new.name)
        (path / "..data_tmp").rename(path / "..data")
        if old.name != "..data":
            shutil.rmtree(old)

    def command(self, *extra):
        """Returns the command line of the container, with `$(NAME)` expanded as the kubelet does it."""
        arguments = (re.sub(r"\$\((\w+)\)", lambda match: self.environment[match[1]], arg) for arg in self.arguments)
        return [exporter_path(), *map(self.to_host_paths, arguments), *extra]

    def check_command(self):
        """Returns the command line of `check`, which refuses flags that only affect a server."""
        return [word for word in self.command("check") if not word.startswith(SERVER_FLAGS)]


def check_pods(folder):
    shutil.copytree(MANIFESTS, folder / "deploy" / "kubernetes")
    shutil.copytree(ROOT / "grafana", folder / "grafana")
    example = folder / "deploy" / "kubernetes" / "example"
    kustomization = (example / "kustomization.yaml").read_text()
    require(kustomization.count("count: 2") == 1, "expected one `count: 2` in the kustomization")
    (example / "kustomization.yaml").write_text(kustomization.replace("count: 2", f"count: {SHARDS}"))
    with start_demo() as simulator:
        url, token = simulator.read_value("simulator"), simulator.read_value("token")
        (folder / "token").write_text(token)
        with step("a config of `discover` becomes the ConfigMap, and a changed config changes the pod template"):
            done = run(exporter_path(), "discover", f"--access-token-file={folder}/token", f"--graph.url={url}")
            require(done.returncode == 0, done.stderr)
            config = {**yaml.safe_load(done.stdout), "polling": {"interval": "2s"}}
            expected = {account["id"] for account in config["businesses"][0]["ad_accounts"]}
            config["businesses"][0]["access_token_file"] = "/run/secrets/marketing-messages/acme"
            before = find_one(build(example), "StatefulSet")
            (example / "config.yaml").write_text(yaml.safe_dump(config))
            objects = build(example)
            stateful_set = find_one(objects, "StatefulSet")
            require(
                before["spec"]["template"] != stateful_set["spec"]["template"],
                "a changed config should change the pod template",
            )
        replicas = [Pod(folder, objects, stateful_set, ordinal) for ordinal in range(stateful_set["spec"]["replicas"])]
        with ExitStack() as running:
            pages = {}
            with step(f"{SHARDS} pods start without a token"):
                for ordinal, pod in enumerate(replicas):
                    command = pod.command("--web.listen-address=127.0.0.1:0")
                    process = running.enter_context(spawn(command, f"pod-{ordinal}", env=pod.environment))
                    pages[ordinal] = address(process) + "metrics"
            with step("all sources are up after the token is mounted") as note:
                for pod in replicas:
                    pod.write("tokens", {"acme": token})
                shares = wait_until(lambda: sources_up(pages), 60, "every source is up")
                note(", ".join(str(len(share)) for share in shares.values()))
            with step("each source is polled by exactly one pod"):
                require(set.union(*shares.values()) == expected, f"shares {shares}, expected together {expected}")
                require(
                    sum(map(len, shares.values())) == len(expected),
                    f"a source is polled by more than one pod: {shares}",
                )
                for ordinal, page in pages.items():
                    line = f'shard_info{{count="{SHARDS}",index="{ordinal}"}} 1'
                    require(line in fetch_text(page), f"pod {ordinal} does not export {line}")
            with step("a token that is replaced by an invalid one is read again and refused"):
                for pod in replicas:
                    pod.write("tokens", {"acme": "EAAWrong"})
                refused = [page for ordinal, page in pages.items() if shares[ordinal]]
                wait_until(lambda: all(is_token_refused(page) for page in refused), 60, "the token is refused")
    with step("state files are on the volumes"):
        for pod in replicas:
            require((pod.path("state") / "state").stat().st_size > 0, "the state file is empty")


def address(process):
    """Waits for the log line with the listen address and returns the base URL."""

    def find_address():
        found = re.search(r"msg=listening address=\"?([0-9.:]+)", process.err.read_text())
        return found and f"http://{found.group(1)}/"

    return wait_until(find_address, 20, f"{process.name} listens")


def sources_up(pages):
    """Returns the sources of each pod if all of them are up, otherwise None."""
    shares = {}
    for ordinal, page in pages.items():
        lines = [line for line in fetch_text(page).splitlines() if line.startswith("marketing_messages_up{")]
        if not all(line.endswith("} 1") for line in lines):
            return None
        shares[ordinal] = {re.search(r'source="(\w+)"', line).group(1) for line in lines}
    return shares


def is_token_refused(page):
    return re.search(r"^marketing_messages_exporter_token_valid\{.*\} 0$", fetch_text(page), re.M)


if __name__ == "__main__":
    run_check(check)
