#!/usr/bin/env python3
"""Checks that all files of the repository have the version of Cargo.toml.

usage: version.py [TAG]

With a tag such as v0.2.0, also checks that it has this version, and that the changelog has the date of the release.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "marketing-messages-exporter"
# Files with the version, and a pattern that finds it.
FILES = {
    "Cargo.lock": rf'name = "{NAME}"\nversion = "(.+)"',
    "compose.yaml": rf"image: {NAME}:(.+)",
    "deploy/debian/changelog": rf"\A{NAME} \((.+)-1\) ",
    "deploy/kubernetes/base/stateful-set.yaml": rf"image: {NAME}:(.+)",
    "deploy/kubernetes/example/kustomization.yaml": r"newTag: (.+)",
    f"deploy/helm/{NAME}/Chart.yaml": r"^version: (.+)",
    "docs/deployment.md": rf"image=ghcr\.io/{NAME}/{NAME}:(.+)",
}


def main():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    problems = []
    patterns = [*FILES.items(), (f"deploy/helm/{NAME}/Chart.yaml", r"^appVersion: (.+)")]
    for path, pattern in patterns:
        found = re.search(pattern, (ROOT / path).read_text(), re.M)
        if not found or found.group(1).strip("\"'") != version:
            problems.append(f"{path} has the version {found and found.group(1)}, expected {version}")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## .*\b{re.escape(version)}\b", changelog, re.M):
        problems.append(f"CHANGELOG.md has no section for {version}")
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for image in re.findall(r"container: rust:(\S+)-bookworm", path.read_text()):
            if image not in (toolchain, oldest_rust()):
                problems.append(f"{path.name} uses Rust {image}, expected {toolchain} as in rust-toolchain.toml")
    if len(sys.argv) > 1:
        tag = sys.argv[1]
        if tag != f"v{version}":
            problems.append(f"the tag is {tag}, expected v{version}")
        if not re.search(rf"^## \[?{re.escape(version)}\]? [/-] \d{{4}}-\d\d-\d\d$", changelog, re.M):
            problems.append(f"CHANGELOG.md: the section of {version} has no date, such as `## {version} / 2026-12-01`")
    if problems:
        sys.exit("\n".join(problems))
    print(json.dumps({"version": version, "rust": toolchain}))


def oldest_rust():
    """Returns the oldest supported Rust version, as in the tag of an image."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    return version if version.count(".") == 2 else f"{version}.0"


main()
