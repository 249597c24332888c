#!/usr/bin/env python3
"""Follows the README in a fresh clone, which shows whether all necessary files are committed.

The target directory is shared with the other steps, so that dependencies are not compiled twice.
"""

import os
import re
import tempfile
import textwrap
from pathlib import Path

from processes import (
    ROOT,
    Failure,
    fetch_text,
    ready_page,
    require,
    run,
    run_check,
    sample_lines,
    spawn,
    step,
    target_dir,
    wait_until,
)

# Commands that the README must show at the beginning of a line.
DEMO = "cargo run --release -- demo"
TESTS = "cargo test"


def check():
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        clone = Path(folder) / "clone"
        with step("the repository can be cloned") as note:
            done = run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
            require(done.returncode == 0, done.stderr)
            head = run("git", "-C", str(clone), "log", "-1", "--format=%h %s").stdout.strip()
            note(head)
            changed = run("git", "-C", str(ROOT), "status", "--porcelain").stdout.splitlines()
            if changed:
                note(f"without {len(changed)} uncommitted changes")
        readme = (clone / "README.md").read_text()
        with step("the README shows the two commands"):
            for command in (DEMO, TESTS):
                require(re.search(rf"^{re.escape(command)}\b", readme, re.M), f"missing command: {command}")
        with step("relative links of all documents are valid") as note:
            note(f"{check_links(clone)} links")
        with step("the clone builds"):
            build(clone)
        with step("the configs of README and config.example.yaml are valid"):
            check_configs(clone, Path(folder), readme)
        check_demo(clone)


def check_links(clone):
    """Checks that relative links name an existing file and, if given, heading; returns the number of links."""
    broken, count = [], 0
    for name in run("git", "-C", str(clone), "ls-files", "*.md").stdout.splitlines():
        document = clone / name
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            linked = document.parent / path if path else document
            if not linked.exists() or anchor and anchor not in anchors(linked.read_text()):
                broken.append(f"{name} links to {link}")
            count += 1
    require(not broken, "broken links: " + "; ".join(broken))
    return count


def anchors(text):
    """Returns the anchors of a document: explicit ones, and those that GitHub derives from headings."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def environment():
    return {**os.environ, "CARGO_TARGET_DIR": str(target_dir())}


def build(clone):
    done = run("cargo", "build", "--release", "--locked", "--quiet", limit=900, cwd=clone, env=environment())
    require(done.returncode == 0, done.stderr)


def check_configs(clone, folder, readme):
    config = re.search(r"```yaml\n((?:(?!```).)*?businesses:.*?)```", readme, re.S)
    require(config, "the README has no YAML block with businesses:")
    path = folder / "config.yaml"
    path.write_text(textwrap.dedent(config[1]))
    binary = target_dir() / "release" / "marketing-messages-exporter"
    for file in (path, clone / "config.example.yaml"):
        done = run(str(binary), "check", f"--config.file={file}", cwd=folder)
        require(done.returncode == 0, f"{file.name}: {done.stderr}")


def check_demo(clone):
    # The command of the README, on a free port.
    command = [*DEMO.split(), "--web.listen-address=127.0.0.1:0"]
    command[2:2] = ["--locked", "--quiet"]
    with spawn(command, "demo", cwd=clone, env=environment()) as exporter:
        base = exporter.read_value("exporter")
        with step("the page has campaign metrics") as note:
            page = wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")
            note(f"{len(sample_lines(page))} series")
        with step("the landing page shows every business"):
            landing = fetch_text(base)
            for business in ("aurora", "nordlicht", "hinode", "kereru"):
                require(business in landing, f"{business} is missing")
        with step("the commands that the demo prints work"):
            lines = [line.strip() for line in exporter.out.read_text().splitlines()]
            commands = [line for line in lines if line.startswith("curl ")]
            require(len(commands) >= 2, "expected at least two curl commands on standard output")
            for shown in commands:
                done = run("bash", "-c", shown, env={**os.environ, "no_proxy": "*"})
                if done.returncode != 0 or not done.stdout.strip():
                    raise Failure(f"{shown}: no output: {done.stderr}")


run_check(check)
