#!/usr/bin/env python3
"""Checks that SIGTERM and SIGINT end the exporter in time and with exit status 0, even while the API hangs."""

from signal import SIGINT, SIGTERM

from processes import fetch, fetch_text, ready_page, require, run_check, start_demo, step, wait_until

# The documented limit.
MAX_SHUTDOWN_SECONDS = 5


def check():
    for signal in (SIGTERM, SIGINT):
        with start_demo() as exporter:
            wait_for_page(exporter.read_value("exporter"))
            check_shutdown(exporter, signal, f"{signal.name} ends the exporter")
    with start_demo("--fault=hang") as exporter:
        base = exporter.read_value("exporter")
        with step("/metrics responds while the API hangs"):
            page = wait_until(lambda: fetch_text(base + "metrics"), 10, "a response of /metrics")
            require("\nmarketing_messages_up{" in page, "no marketing_messages_up on the page")
            require(
                "\nmarketing_messages_spend{" not in page,
                "the page has marketing_messages_spend without any API response",
            )
            require(fetch(base + "-/healthy")[0] == 200, "/-/healthy should be 200")
            require(fetch(base + "-/ready")[0] == 503, "/-/ready should be 503")
        # After one second the first API requests are in flight.
        wait_until(lambda: exporter.uptime() > 1, 5, "an uptime of one second")
        check_shutdown(exporter, SIGTERM, "SIGTERM ends the exporter while the API hangs")


def wait_for_page(base):
    wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")


def check_shutdown(exporter, signal, description):
    with step(description):
        status, seconds = exporter.stop(signal, limit=15)
        require(status == 0, f"exit status {status}, expected 0")
        require(seconds <= MAX_SHUTDOWN_SECONDS, f"shutdown took {seconds:.1f} s, more than {MAX_SHUTDOWN_SECONDS} s")


run_check(check)
