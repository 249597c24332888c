#!/usr/bin/env python3
"""Checks that common HTTP and gzip clients read the compressed metrics page completely.

Some clients stop after the first gzip member without an error, so the page must be a single member.
"""

import gzip
import shutil
import zlib

from processes import (
    campaign_section,
    fetch,
    fetch_text,
    ready_page,
    require,
    run,
    run_check,
    sample_lines,
    start_demo,
    step,
    wait_until,
)

NODE_SCRIPT = """
fetch(process.argv[1]).then(answer => answer.text()).then(page => process.stdout.write(page));
"""


def check():
    with start_demo() as exporter:
        base = exporter.read_value("exporter")
        url = base + "metrics"
        wait_until(lambda: ready_page(base), 30, "a page with campaign metrics")
        with step("Python's gzip") as note:
            body = fetch_gzip(url)
            note(f"{len(body)} bytes")
            check_complete(gzip.decompress(body).decode(), url)
        with step("one gzip member with a valid checksum and length"):
            decompressor = zlib.decompressobj(wbits=31)
            decompressor.decompress(fetch_gzip(url))
            require(
                decompressor.eof and not decompressor.unused_data, "more than one gzip member, or an incomplete one"
            )
        with step("gunzip"):
            check_complete(run_ok("gunzip", "-c", stdin=fetch_gzip(url)).decode(), url)
        with step("curl --compressed"):
            check_complete(run_ok("curl", "-sS", "--fail", "--noproxy", "*", "--compressed", url).decode(), url)
        with step("wget --compression=gzip"):
            check_complete(run_ok("wget", "-q", "--no-proxy", "--compression=gzip", "-O", "-", url).decode(), url)
        if shutil.which("node"):
            with step("node's fetch"):
                check_complete(run_ok("node", "-e", NODE_SCRIPT, url).decode(), url)
        else:
            print("   skipped: node's fetch, node is not installed")
        with step("plain text for clients that do not accept gzip"):
            _, headers, body = fetch(url, {"Accept-Encoding": "identity"})
            require("Content-Encoding" not in headers, "the response is compressed")
            check_complete(body.decode(), url)


def fetch_gzip(url):
    status, headers, body = fetch(url, {"Accept-Encoding": "gzip"})
    require(status == 200 and headers["Content-Encoding"] == "gzip", "the response is not compressed with gzip")
    content_type = headers["Content-Type"]
    require(content_type == "text/plain; version=0.0.4; charset=utf-8", f"Content-Type is {content_type}")
    return body


def check_complete(page, url):
    """Checks the number of series against the self metrics, and the families against the uncompressed page."""
    name = "marketing_messages_exporter_page_series "
    page_series = next(line for line in sample_lines(page) if line.startswith(name))
    campaigns = sample_lines(campaign_section(page))
    require(page.endswith("\n"), "the last line does not end with a newline")
    require(len(campaigns) == int(page_series.split()[1]), f"{len(campaigns)} series, but {page_series}")
    plain_families = {line.split()[2] for line in fetch_text(url).splitlines() if line.startswith("# TYPE")}
    page_families = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    require(plain_families == page_families, f"families differ: {sorted(plain_families ^ page_families)}")


def run_ok(*command, stdin=None):
    """Runs a command that must succeed and returns its standard output as bytes."""
    done = run(*command, stdin=stdin, text=False)
    require(done.returncode == 0, f"{command[0]} exits {done.returncode}: {done.stderr.decode()}")
    return done.stdout


run_check(check)
