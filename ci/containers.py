#!/usr/bin/env python3
"""Checks the Dockerfile and compose.yaml as far as possible without a container engine.

hadolint lints the Dockerfile. The files that it copies are copied to an empty folder, where its build command must
succeed. docker compose parses compose.yaml, and every file that it mounts must exist.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from processes import ROOT, require, run, run_check, step, target_dir

# Folder that the image gives to its user.
STATE_FOLDER = "/var/lib/marketing-messages-exporter"

TOOLS_DIR = Path(os.environ.get("CI_TOOLS", target_dir() / "ci"))


def check():
    dockerfile = (ROOT / "Dockerfile").read_text()
    with step("hadolint: no problem in the Dockerfile"):
        done = run("hadolint", str(ROOT / "Dockerfile"))
        require(done.returncode == 0, done.stdout + done.stderr)
    with step("base images are pinned, and the user is not root") as note:
        for base in re.findall(r"^FROM (\S+)", dockerfile, re.M):
            require(base == "scratch" or (":" in base and not base.endswith(":latest")), f"{base} is not pinned")
            note(base)
        require("\nUSER 65532:65532\n" in dockerfile, "the image should run as user 65532")
        copied = re.findall(r"^COPY --from=build --chown=65532:65532 /state (\S+)$", dockerfile, re.M)
        require(copied == [STATE_FOLDER], f"{STATE_FOLDER} should belong to user 65532")
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        check_build(dockerfile, Path(folder))
    check_compose()


def check_build(dockerfile, folder):
    included = (ROOT / ".dockerignore").read_text().splitlines()
    with step("the copied files are in the build context and sufficient for the build"):
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.M):
            *sources, destination = line.split()
            for source in sources:
                require(f"!{source}" in included, f".dockerignore excludes {source}")
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, folder / destination)
                else:
                    shutil.copy(ROOT / source, folder / destination)
        build = re.search(r"^ +(cargo build .+?) \\$", dockerfile, re.M)
        require(build, "the Dockerfile has no cargo build")
        revision = run("git", "rev-parse", "--short=12", "HEAD", cwd=ROOT).stdout.strip()
        environment = {**os.environ, "REVISION": revision}
        environment["CARGO_TARGET_DIR"] = str(target_dir() / "containers")
        done = run(*build.group(1).split(), cwd=folder, env=environment, limit=1100)
        require(done.returncode == 0, done.stderr[-2000:])
    program = target_dir() / "containers" / "dist" / "marketing-messages-exporter"
    with step("--version prints the revision"):
        version = run(str(program), "--version").stdout
        require(revision in version, version)
    with step("the health check is a valid command"):
        health_command = json.loads(re.search(r"^ +CMD (\[.+\])$", dockerfile, re.M).group(1))
        done = run(str(program), *health_command[1:], "--web.listen-address=127.0.0.1:9")
        require(done.returncode == 1, f"exit status {done.returncode}, expected 1: {done.stderr}")


def check_compose():
    # The wrapper script of the PyPI package hides the exit status of docker-compose, so the binary is called directly.
    found = list(TOOLS_DIR.glob("venv/lib/python3*/site-packages/compose/docker-compose"))
    require(found, "docker-compose is not installed; run the `prepare` step")
    with step("docker compose accepts compose.yaml") as note:
        found[0].chmod(0o755)
        file = str(ROOT / "compose.yaml")
        done = run(str(found[0]), "--file", file, "config", "--format=json", cwd=ROOT)
        require(done.returncode == 0, done.stderr)
        services = json.loads(done.stdout)["services"]
        require({"exporter", "prometheus", "alertmanager", "grafana"} <= set(services), services)
        for service in services.values():
            note(service["image"])
    with step("the state file of the exporter for real data is in a volume"):
        text = (ROOT / "compose.yaml").read_text()
        state = re.findall(r"--state\.file=([^\]\s]+)/state", text)
        volumes = re.findall(r"- state:(\S+)", text)
        require(state == volumes == [STATE_FOLDER], f"{state} and {volumes} should be {STATE_FOLDER}")
    with step("mounted files exist, and images are pinned"):
        for name, service in services.items():
            require(not service["image"].endswith(":latest"), f"{name} is not pinned")
            for mount in service.get("volumes", []):
                if mount["type"] == "bind":
                    require(Path(mount["source"]).exists(), f"{name} mounts {mount['source']}, which does not exist")


if shutil.which("hadolint") is None:
    print("hadolint is not installed; run the `prepare` step", file=sys.stderr)
    sys.exit(1)
run_check(check)
