#!/usr/bin/env python3
"""Checks the Debian package: reproducible, accepted by lintian, and installable below a separate root directory."""

import gzip
import os
import re
import shlex
import stat
import sys
import tempfile
from pathlib import Path

from processes import ROOT, require, run, run_check, step

try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
except ImportError as missing:
    sys.exit(f"{missing}; run the `prepare` step")

import tomllib  # Python 3.11

NAME = "marketing-messages-exporter"
# Cargo.toml names this folder in the assets of the package, so CARGO_TARGET_DIR does not apply.
GENERATED_DIR = ROOT / "target" / "man-and-completions"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def check():
    epoch = run_ok("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    with step("man pages, completions and SBOM are generated"):
        run_ok(
            "cargo",
            "run",
            "--locked",
            "--example",
            "man-and-completions",
            "--",
            str(GENERATED_DIR),
            cwd=ROOT,
            env=environment,
            limit=280,
        )
        run_ok("python3", "deploy/sbom.py", str(GENERATED_DIR), cwd=ROOT, env=environment)
    with step("the SBOM is valid CycloneDX, with crates of Cargo.lock") as note:
        note(f"{check_sbom()} crates")
    with step("changelogs have an entry for this version"):
        first = (ROOT / "deploy/debian/changelog").read_text().splitlines()[0]
        require(first.startswith(f"{NAME} ({VERSION}-1) "), first)
        require(
            re.search(rf"^## .*\b{re.escape(VERSION)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M), "CHANGELOG.md"
        )
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        packages = [Path(folder) / f"{name}.deb" for name in ("one", "two")]
        with step("packaging one build twice gives the same bytes") as note:
            for package in packages:
                run_ok(
                    "cargo-deb", "deb", "--no-build", "--locked", "--output", str(package), cwd=ROOT, env=environment
                )
            first_bytes, second_bytes = (package.read_bytes() for package in packages)
            require(first_bytes == second_bytes, "the packages differ")
            note(f"{len(first_bytes)} bytes")
        with step("lintian reports nothing"):
            report = run_ok("lintian", "--allow-root", "--fail-on", "error,warning,info", str(packages[0]))
            require(not report.strip(), report)
        check_installed(packages[0], Path(folder) / "root")


def check_sbom():
    """Validates the SBOM and returns its number of crates."""
    text = (GENERATED_DIR / "bom.cdx.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    error = validator.validate_str(text)
    require(error is None, f"{error}")
    require(validator.validate_str(text.replace('"library"', '"lib"', 1)), "the validator accepts an invalid SBOM")
    require(str(ROOT) not in text and str(Path.home()) not in text, "the SBOM contains a path of the build machine")
    listed = set(re.findall(r'"bom-ref": "pkg:cargo/(.+)@(.+)"', text))
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    require(
        listed <= {(crate["name"], crate["version"]) for crate in locked},
        "the SBOM has crates that are not in Cargo.lock",
    )
    # rcgen is a dependency of the tests only.
    require(
        "rcgen" not in dict(listed) and "tokio" in dict(listed), "the SBOM should have tokio, and no crates of tests"
    )
    return len(listed)


def check_installed(package, root):
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg = ["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends", "--force-not-root"]
    token_dir = root / "etc" / NAME / "tokens"
    with step("dpkg installs the package and runs its maintainer scripts"):
        run_ok(*dpkg, "--install", str(package))
        require(stat.S_IMODE(token_dir.stat().st_mode) == 0o700, "the token folder should have mode 0700")
        enabled = list(root.glob("etc/systemd/system/*.wants/*"))
        require(not enabled, f"the unit should not be enabled after installation: {enabled}")
    program = root / "usr/bin" / NAME
    documents = root / "usr/share/doc" / NAME
    with step("the installed program runs"):
        require(f" {VERSION} (" in run_ok(str(program), "--version"), f"expected version {VERSION}")
        run_ok(str(program), "check", f"--config.file={documents}/examples/config.example.yaml")
    with step("the unit starts the installed program with valid flags"):
        unit = (root / "usr/lib/systemd/system" / f"{NAME}.service").read_text().replace("\\\n", " ")
        words = shlex.split(re.search(r"^ExecStart=(.+)$", unit, re.M).group(1).replace("$ARGS", ""))
        require((root / words[0].lstrip("/")) == program, words[0])
        config = f"--config.file={documents}/examples/config.example.yaml"
        # systemd creates the folder of the state file.
        state_dir = f"/var/lib/{NAME}"
        (root / state_dir.lstrip("/")).mkdir(parents=True)
        flags = [
            word.replace(f"={state_dir}/", f"={root}{state_dir}/") for word in words[1:] if "--config." not in word
        ]
        run_ok(str(program), "check", config, *flags)
        require((root / "etc/default" / NAME).exists(), "no /etc/default file")
        folder = re.search(r"^LoadCredential=tokens:(.+)$", unit, re.M).group(1)
        require((root / folder.lstrip("/")) == token_dir, folder)
    with step("rules, dashboards, man page and completions are installed"):
        run_ok("promtool", "check", "rules", str(root / "usr/share" / NAME / "prometheus/rules.yaml"))
        installed_boards, source_boards = (
            {path.name: path.read_bytes() for path in (folder / "grafana/dashboards").glob("*.json")}
            for folder in (root / "usr/share" / NAME, ROOT)
        )
        require(installed_boards == source_boards, "the installed dashboards differ from the repository")
        page = gzip.decompress((root / "usr/share/man/man1" / f"{NAME}.1.gz").read_bytes())
        require(
            page == (GENERATED_DIR / f"{NAME}.1").read_bytes(), "the installed man page differs from the generated one"
        )
        for completion in ("bash-completion/completions/" + NAME, "zsh/vendor-completions/_" + NAME):
            require((root / "usr/share" / completion).exists(), completion)
    with step("purge removes everything except files of the user"):
        (token_dir / "acme").write_text("token")
        run_ok(*dpkg, "--purge", NAME)
        leftover = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and NAME in str(path)}
        require(leftover == {f"etc/{NAME}/tokens/acme"}, f"files after purge: {sorted(leftover)}")


def run_ok(*command, **options):
    """Runs a command that must succeed and returns its standard output."""
    finished = run(*command, **options)
    require(finished.returncode == 0, f"{' '.join(command[:3])}: {finished.stdout}{finished.stderr}")
    return finished.stdout


run_check(check)
