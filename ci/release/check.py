#!/usr/bin/env python3
"""Checks the release scripts with the binary of the `build` step: archives, image and checksums.

The binary is used in place of those of both architectures. That the real ones are static and reproducible is checked by
ci/release/test.sh and ci/release/reproducible.sh, which need release builds for their targets.
"""

import hashlib
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tomllib  # Python 3.11

from processes import ROOT, exporter_path, require, run, run_check, step

NAME = "marketing-messages-exporter"
SCRIPTS = ROOT / "ci" / "release"
TARGETS = {"x86_64-unknown-linux-musl": "amd64", "aarch64-unknown-linux-musl": "arm64"}
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def check():
    epoch = run_ok("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        files, dists = Path(folder) / "files", [Path(folder) / name for name in ("one", "two")]
        with step("archives, image and checksums are the same when built twice") as note:
            run_ok("python3", str(ROOT / "deploy/sbom.py"), str(files), cwd=ROOT, env=environment)
            for dist in dists:
                dist.mkdir()
                for target in TARGETS:
                    command = [str(SCRIPTS / "archive.py"), target, exporter_path(), str(files), str(dist)]
                    run_ok(*command, env=environment)
                digest = run_ok(str(SCRIPTS / "image.sh"), env={**environment, "DIST": str(dist)}).strip()
                run_ok(str(SCRIPTS / "checksums.sh"), env={**environment, "DIST": str(dist)})
            require(contents(dists[0]) == contents(dists[1]), "two builds differ")
            note(digest)
        with step("the checksums are correct and complete") as note:
            sums = (dists[0] / "SHA256SUMS").read_text().splitlines()
            listed = {line.split()[1]: line.split()[0] for line in sums}
            found = {path.name for path in dists[0].iterdir() if path.is_file()} - {"SHA256SUMS"}
            require(set(listed) == found, f"{set(listed)}, expected {found}")
            for name, checksum in listed.items():
                require(hashlib.sha256((dists[0] / name).read_bytes()).hexdigest() == checksum, name)
            note(f"{len(listed)} files")
        with step("the archive contains binary, licences and example config"):
            stem = f"{NAME}-{VERSION}.linux-amd64"
            with tarfile.open(dists[0] / f"{stem}.tar.gz") as archive:
                members = {member.name.removeprefix(f"{stem}/"): member for member in archive.getmembers()}
            expected = {NAME, "LICENSE", "THIRD-PARTY-LICENSES", "config.example.yaml"}
            require(set(members) == expected, f"{set(members)}, expected {expected}")
            require(members[NAME].mode == 0o755, "the binary should be executable")
        check_image(dists[0] / "image", digest, Path(folder))


def check_image(layout, digest, folder):
    dockerfile = (ROOT / "Dockerfile").read_text()
    with step("skopeo reads the image of both architectures, and its settings are those of the Dockerfile"):
        source = f"oci:{layout}:{VERSION}"
        index = run_ok("skopeo", "inspect", "--raw", source)
        require(f"sha256:{hashlib.sha256(index.encode()).hexdigest()}" == digest, "the digest differs")
        platforms = [manifest["platform"]["architecture"] for manifest in json.loads(index)["manifests"]]
        require(platforms == list(TARGETS.values()), platforms)
        for architecture in platforms:
            text = run_ok("skopeo", f"--override-arch={architecture}", "inspect", "--config", source)
            image = json.loads(text)
            require(image["architecture"] == architecture, image)
            settings = image["config"]
            require(f"\nUSER {settings['User']}\n" in dockerfile, settings)
            require(f"\nWORKDIR {settings['WorkingDir']}\n" in dockerfile, settings)
            require(f"\nENTRYPOINT {json.dumps(settings['Entrypoint'])}\n" in dockerfile, settings)
            require(f"\nEXPOSE {next(iter(settings['ExposedPorts'])).removesuffix('/tcp')}\n" in dockerfile, settings)
            # skopeo leaves out the health check, which is Docker's extension of the format.
            health_check = read_config(layout, architecture)["config"]["Healthcheck"]["Test"]
            require(f"{health_check[0]} {json.dumps(health_check[1:])}" in dockerfile, health_check)
    with step("umoci unpacks the image"):
        single = f"{folder}/single:{VERSION}"
        run_ok("skopeo", "--override-arch=amd64", "copy", "--quiet", source, f"oci:{single}")
        run_ok("umoci", "unpack", "--rootless", "--image", single, f"{folder}/bundle")
        root = folder / "bundle" / "rootfs"
        require((root / NAME).read_bytes() == Path(exporter_path()).read_bytes(), "the binary differs")
        require((root / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 0, "no CA certificates")


def read_config(layout, architecture):
    """Returns the configuration of the image of an architecture."""

    def blob(descriptor):
        return json.loads((layout / "blobs" / descriptor["digest"].replace(":", "/")).read_text())

    index = blob(json.loads((layout / "index.json").read_text())["manifests"][0])
    (manifest,) = [entry for entry in index["manifests"] if entry["platform"]["architecture"] == architecture]
    return blob(blob(manifest)["config"])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_ok(*command, **options):
    """Runs a command that must succeed and returns its standard output."""
    done = run(*command, limit=100, **options)
    require(done.returncode == 0, f"{' '.join(command[:2])}: {done.stdout}{done.stderr}")
    return done.stdout


run_check(check)
