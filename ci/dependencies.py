#!/usr/bin/env python3
"""Checks all dependencies against deny.toml: licences, sources and banned crates.

These checks need no data from the network and take a second. cargo-deny also checks for known vulnerabilities and
yanked versions; it runs if it is installed. CI does not install it here, because it takes minutes to compile.
"""

import json
import re
import shutil
import tomllib  # Python 3.11

from processes import ROOT, Failure, require, run, run_check, step


def check():
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    packages = {}
    with step("dependencies of every target") as note:
        for target in deny["graph"]["targets"]:
            for package in packages_of(target):
                packages[package["id"]] = package
        dependencies = [package for package in packages.values() if package["source"]]
        note(f"{len(dependencies)} crates, {len(deny['graph']['targets'])} targets")
    with step("licences"):
        allowed = set(deny["licenses"]["allow"])
        for package in packages.values():
            require(
                package["license"] and LicenseExpression(package["license"], allowed).is_allowed(),
                f"{package['name']} has the licence {package['license']}, which deny.toml does not allow",
            )
    with step("sources"):
        sources = {package["source"] for package in dependencies}
        require(
            len(sources) == 1 and all(source.startswith("registry+") for source in sources),
            f"dependencies from other sources than crates.io: {', '.join(sorted(sources))}",
        )
    with step("bans"):
        reasons = {ban["crate"]: ban["reason"] for ban in deny["bans"]["deny"]}
        for package in dependencies:
            name = package["name"]
            require(name not in reasons, f"{name} is banned: {reasons.get(name)}")
    if not shutil.which("cargo-deny"):
        print("   skipped: advisories; cargo-deny is not installed")
        return
    with step("cargo deny"):
        done = run("cargo", "deny", "--locked", "check", "--hide-inclusion-graph", limit=100, cwd=ROOT)
        require(done.returncode == 0, done.stderr)


def packages_of(target):
    """Returns the packages of a build for the target, including tests and build scripts."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    done = run(*command, cwd=ROOT)
    require(done.returncode == 0, done.stderr)
    metadata = json.loads(done.stdout)
    nodes = {node["id"] for node in metadata["resolve"]["nodes"]}
    return [package for package in metadata["packages"] if package["id"] in nodes]


class LicenseExpression:
    """An SPDX licence expression with AND, OR, WITH and parentheses; `/` is the deprecated form of OR."""

    def __init__(self, text, allowed):
        self.text = text
        self.tokens = re.findall(r"[()]|[^\s()]+", text.replace("/", " OR "))
        self.allowed = allowed

    def is_allowed(self):
        """Returns whether the allowed licences satisfy the expression."""
        value = self.parse_or()
        if self.tokens:
            raise Failure(f"invalid licence expression: {self.text}")
        return value

    def parse_or(self):
        value = self.parse_and()
        while self.accept("OR"):
            value = self.parse_and() or value
        return value

    def parse_and(self):
        value = self.parse_term()
        while self.accept("AND"):
            value = self.parse_term() and value
        return value

    def parse_term(self):
        if self.accept("("):
            value = self.parse_or()
            return value if self.accept(")") else False
        name = self.tokens.pop(0) if self.tokens else ""
        if self.accept("WITH"):
            name += f" WITH {self.tokens.pop(0)}"
        return name in self.allowed

    def accept(self, token):
        """Consumes the next token if it is the given one, and returns whether it was."""
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False


run_check(check)
