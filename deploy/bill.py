#!/usr/bin/env python3
"""What the program is linked from: a bill of materials for machines, and the licences' own texts.

usage: bill.py FOLDER [TARGET]

Writes bom.cdx.json (CycloneDX 1.5) and THIRD-PARTY-LICENSES. The list is cargo's, of that target or
of this machine; sums are those of Cargo.lock. The same source makes the same files: the one date is
that of SOURCE_DATE_EPOCH.
"""
import json
import os
import subprocess
import sys
import tomllib
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How the files that hold a licence begin.
TEXTS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def cargo(*words):
    done = subprocess.run(["cargo", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def linked(target):
    """Each package as (name, version), the program first, and those that it is built on."""
    told = cargo(
        "tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=depth", "--format= {p}",
        *([f"--target={target}"] if target else []),
    )
    uses, above = {}, []
    for line in told.splitlines():
        depth, name, version = line.split(" ")[:3]
        package = (name, version.removeprefix("v"))
        del above[int(depth):]
        uses.setdefault(package, set())
        if above:
            uses[above[-1]].add(package)
        above.append(package)
    return uses


def purl(package):
    return f"pkg:cargo/{package[0]}@{package[1]}"


def component(package, about, checksum):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package[0],
        "version": package[1],
        "licenses": [{"expression": about["license"].replace("/", " OR ")}],
        "purl": purl(package),
    }
    if about["description"]:
        made["description"] = " ".join(about["description"].split())
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def bill(uses, abouts, checksums):
    program, *others = [component(package, abouts[package], checksums.get(package)) for package in uses]
    program["type"] = "application"
    metadata = {"component": program}
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        moment = datetime.fromtimestamp(int(epoch), timezone.utc)
        metadata = {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": metadata,
        "components": sorted(others, key=lambda made: made["purl"]),
        "dependencies": [
            {"ref": purl(package), "dependsOn": sorted(map(purl, uses[package]))} for package in sorted(uses)
        ],
    }


def texts(uses, abouts):
    """The licence files of each package, those that are alike once."""
    holders = {}
    for package in sorted(list(uses)[1:]):
        folder = Path(abouts[package]["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if path.name.upper().startswith(TEXTS) and path.is_file())
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            holders.setdefault(text, []).append(f"{package[0]} {package[1]}")
        if not files:
            holders.setdefault(f"(no text beside it; its licence is {abouts[package]['license']})", []).append(
                f"{package[0]} {package[1]}"
            )
    rule = "=" * 80
    return "".join(f"{rule}\n{', '.join(dict.fromkeys(names))}\n{rule}\n\n{text}\n\n" for text, names in holders.items())


def main():
    folder, *target = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    uses = linked(*target or [None])
    packages = json.loads(cargo("metadata", "--locked", "--format-version=1"))["packages"]
    abouts = {(about["name"], about["version"]): about for about in packages}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in locked}
    made = json.dumps(bill(uses, abouts, checksums), indent=1, ensure_ascii=False)
    (folder / "bom.cdx.json").write_text(made + "\n", encoding="utf-8")
    (folder / "THIRD-PARTY-LICENSES").write_text(texts(uses, abouts), encoding="utf-8")


main()
