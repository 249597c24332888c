#!/usr/bin/env python3
"""Runs Meta's Python SDK against the simulated Graph API, which must behave like the real API."""

import sys

from processes import ROOT, require, run, run_check, start_demo, step


def check():
    with start_demo() as exporter:
        with step("Meta's Python SDK reads the simulator") as note:
            url, token = exporter.read_value("simulator"), exporter.read_value("token")
            script = str(ROOT / "tests" / "meta_sdk.py")
            # The SDK warns about fields that it does not know.
            done = run(sys.executable, "-W", "ignore::UserWarning", script, url, token, limit=150)
            sys.stderr.write(done.stderr)
            require(done.returncode == 0, done.stdout)
            note(done.stdout.strip())


run_check(check)
