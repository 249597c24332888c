#!/usr/bin/env python3
"""Generates the software bill of materials (SBOM) and the licence texts of the linked crates.

usage: sbom.py FOLDER [TARGET]

Writes bom.cdx.json (CycloneDX 1.5) and THIRD-PARTY-LICENSES to FOLDER. The crates are those that
`cargo tree` lists for TARGET, by default the host; the checksums are from Cargo.lock. The output is
reproducible: its only timestamp is SOURCE_DATE_EPOCH.
"""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Prefixes of the names of licence files.
LICENCE_FILE_PREFIXES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def cargo(*args):
    result = subprocess.run(["cargo", *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return result.stdout


def dependency_graph(target):
    """Direct dependencies of each linked package, by (name, version). The first package is the exporter."""
    tree = cargo(
        "tree",
        "--locked",
        # The simulator is a workspace member too.
        "--package=marketing-messages-exporter",
        "--edges=normal,no-proc-macro",
        "--prefix=depth",
        "--format= {p}",
        *([f"--target={target}"] if target else []),
    )
    graph, ancestors = {}, []
    for line in tree.splitlines():
        depth, name, version = line.split(" ")[:3]
        package = (name, version.removeprefix("v"))
        del ancestors[int(depth) :]
        graph.setdefault(package, set())
        if ancestors:
            graph[ancestors[-1]].add(package)
        ancestors.append(package)
    return graph


def purl(package):
    return f"pkg:cargo/{package[0]}@{package[1]}"


def component(package, metadata, checksum):
    result = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package[0],
        "version": package[1],
        "licenses": [{"expression": metadata["license"].replace("/", " OR ")}],
        "purl": purl(package),
    }
    if metadata["description"]:
        result["description"] = " ".join(metadata["description"].split())
    if checksum:
        result["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return result


def sbom(graph, packages, checksums):
    program, *others = [component(package, packages[package], checksums.get(package)) for package in graph]
    program["type"] = "application"
    metadata = {"component": program}
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        timestamp = datetime.fromtimestamp(int(epoch), UTC)
        metadata = {"timestamp": timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": metadata,
        "components": sorted(others, key=lambda item: item["purl"]),
        "dependencies": [
            {"ref": purl(package), "dependsOn": sorted(map(purl, graph[package]))} for package in sorted(graph)
        ],
    }


def licence_texts(graph, packages):
    """Licence files of all linked crates. Identical texts are written once, with the names of their crates."""
    crates_by_text = {}
    for package in sorted(list(graph)[1:]):
        crate = f"{package[0]} {package[1]}"
        folder = Path(packages[package]["manifest_path"]).parent
        files = sorted(
            path for path in folder.iterdir() if path.name.upper().startswith(LICENCE_FILE_PREFIXES) and path.is_file()
        )
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            crates_by_text.setdefault(text, []).append(crate)
        if not files:
            text = f"(the crate contains no licence text; its licence is {packages[package]['license']})"
            crates_by_text.setdefault(text, []).append(crate)
    rule = "=" * 80
    return "".join(
        f"{rule}\n{', '.join(dict.fromkeys(crates))}\n{rule}\n\n{text}\n\n" for text, crates in crates_by_text.items()
    )


def main():
    folder, *target = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    graph = dependency_graph(*target or [None])
    metadata = json.loads(cargo("metadata", "--locked", "--format-version=1"))["packages"]
    packages = {(item["name"], item["version"]): item for item in metadata}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(item["name"], item["version"]): item.get("checksum") for item in locked}
    text = json.dumps(sbom(graph, packages, checksums), indent=1, ensure_ascii=False)
    (folder / "bom.cdx.json").write_text(text + "\n", encoding="utf-8")
    (folder / "THIRD-PARTY-LICENSES").write_text(licence_texts(graph, packages), encoding="utf-8")


main()
