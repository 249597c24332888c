"""Helpers of the check scripts: start and stop processes, send HTTP requests, report results.

`spawn` ends its process when the `with` block is left, also after an exception. Every wait has a time limit.
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Ignores proxy settings, because all requests go to loopback.
DIRECT_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """A failed check; the message gives the reason."""


def target_dir():
    """Returns the path of the Cargo target directory."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def exporter_path():
    """Returns the path of the release build, which the `build` step makes."""
    path = target_dir() / "release" / "marketing-messages-exporter"
    if not path.exists():
        raise Failure(f"{path} does not exist; run `cargo build --release`")
    return str(path)


@contextmanager
def step(description):
    """Prints one line with the result of the block, its duration and its notes.

    Yields a function that appends a note to the line.
    """
    started_at = time.monotonic()
    notes = []
    try:
        yield notes.append
    except Exception:
        print(f"   FAILED {description}", flush=True)
        raise
    suffix = f": {', '.join(notes)}" if notes else ""
    print(f"   {time.monotonic() - started_at:6.2f} s  {description}{suffix}", flush=True)


def require(condition, message):
    """Raises `Failure` with the message unless the condition is true."""
    if not condition:
        raise Failure(message)


def run(*command, stdin=None, limit=60, **options):
    """Runs a command and returns the finished process with its output as text; any exit status is accepted."""
    options = {"capture_output": True, "text": True, "timeout": limit, **options}
    if stdin is None:
        return subprocess.run(command, stdin=subprocess.DEVNULL, **options)
    return subprocess.run(command, input=stdin, **options)


def fetch(url, headers=None, limit=10):
    """Returns status, headers and body of a response; an error status does not raise an exception."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with DIRECT_OPENER.open(request, timeout=limit) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def fetch_text(url):
    """Returns the body of a 200 response as text."""
    status, _, body = fetch(url)
    require(status == 200, f"{url}: status {status}")
    return body.decode()


def wait_until(probe, limit, description, pause=0.05):
    """Calls `probe` until it returns a true value, and returns that value.

    An `OSError`, such as a refused connection, counts as false. Raises `Failure` after `limit` seconds.
    """
    end = time.monotonic() + limit
    while True:
        try:
            value = probe()
        except OSError:
            value = None
        if value:
            return value
        require(time.monotonic() < end, f"timed out after {limit} s: {description}")
        time.sleep(pause)


class Process:
    """A running process with its output in files; `spawn` prints their last lines on failure."""

    def __init__(self, command, folder, name, cwd=None, env=None):
        self.started_at = time.monotonic()
        self.name = name
        self.out = folder / f"{name}.out"
        self.err = folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=env)

    def uptime(self):
        """Returns the seconds since the start."""
        return time.monotonic() - self.started_at

    def read_value(self, key):
        """Waits for a line `key=value` on standard output and returns the value."""

        def find():
            require(self.process.poll() is None, f"{self.name} exited unexpectedly")
            for line in self.out.read_text().splitlines(keepends=True):
                if line.startswith(f"{key}=") and line.endswith("\n"):
                    return line.strip().split("=", 1)[1]
            return None

        return wait_until(find, 20, f"{self.name} prints {key}=", pause=0.01)

    def stop(self, signal, limit):
        """Sends the signal and returns the exit status and the seconds until the exit."""
        started_at = time.monotonic()
        self.process.send_signal(signal)
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} is still running {limit} s after {signal.name}") from None
        return status, time.monotonic() - started_at

    def terminate(self):
        """Ends the process with SIGTERM, or with SIGKILL after 10 seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def spawn(command, name, **options):
    """Runs a command in the background for the duration of the block."""
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        process = Process(command, Path(folder), name, **options)
        try:
            yield process
        except BaseException:
            for path in (process.out, process.err):
                for line in path.read_text(errors="replace").splitlines()[-20:]:
                    print(f"   {path.name}: {line}", file=sys.stderr)
            raise
        finally:
            process.terminate()


def start_demo(*flags):
    """Runs `demo` on free ports for the duration of the block."""
    command = [exporter_path(), "demo", "--web.listen-address=127.0.0.1:0", *flags]
    return spawn(command, "demo")


def ready_page(base):
    """Returns the metrics page if the exporter is ready and exports a spend, otherwise None."""
    status, _, _ = fetch(base + "-/ready")
    page = fetch_text(base + "metrics")
    return page if status == 200 and "\nmarketing_messages_spend{" in page else None


def sample_lines(page):
    """Returns the sample lines of a metrics page."""
    return [line for line in page.splitlines() if line and not line.startswith("#")]


def campaign_section(page):
    """Returns the part of a metrics page that follows the exporter's self metrics."""
    begin = page.find("# HELP marketing_messages_up ")
    require(begin >= 0, "no marketing_messages_up on the page")
    return page[begin:]


def run_check(check):
    """Runs the check of a script; a failure prints one line and exits with status 1."""
    try:
        check()
    except (Failure, subprocess.SubprocessError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
