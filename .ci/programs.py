"""Starts programs and ends them again: what the scripts beside this file share.

Every program that is started here is ended here, by its own handle, when the `with` block ends,
however it ends. Everything that waits has a limit.
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
# No proxy stands between a machine and itself.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """Something does not hold; the text says what."""


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def exporter():
    """The release build, which the step before made."""
    path = target() / "release" / "marketing-messages-exporter"
    if not path.exists():
        raise Failure(f"{path} is missing; cargo build --release makes it")
    return str(path)


@contextmanager
def step(claim):
    """Prints one line: what held, and how long it took to see."""
    begun = time.monotonic()
    notes = []
    try:
        yield notes.append
    except Exception:
        print(f"   FAILED {claim}", flush=True)
        raise
    told = f": {', '.join(notes)}" if notes else ""
    print(f"   {time.monotonic() - begun:6.2f} s  {claim}{told}", flush=True)


def require(holds, claim):
    if not holds:
        raise Failure(claim)


def run(*command, stdin=None, limit=60, **options):
    """The finished process; its output is text."""
    options = {"capture_output": True, "text": True, "timeout": limit, **options}
    if stdin is None:
        return subprocess.run(command, stdin=subprocess.DEVNULL, **options)
    return subprocess.run(command, input=stdin, **options)


def fetch(url, headers=None, limit=10):
    """Status, headers and body; a status of failure is no exception."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with DIRECT.open(request, timeout=limit) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def text(url):
    status, _, body = fetch(url)
    require(status == 200, f"{url} answers {status}")
    return body.decode()


def until(found, limit, what, pause=0.05):
    """The first true value of `found()`; connections that are refused count as not yet."""
    end = time.monotonic() + limit
    while True:
        try:
            value = found()
        except OSError:
            value = None
        if value:
            return value
        require(time.monotonic() < end, f"{what}: not within {limit} s")
        time.sleep(pause)


class Program:
    """A running program; its output goes to a file, which is shown when something fails."""

    def __init__(self, command, folder, name, cwd=None, env=None):
        self.begun = time.monotonic()
        self.name = name
        self.out = folder / f"{name}.out"
        self.err = folder / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=env
            )

    def age(self):
        return time.monotonic() - self.begun

    def printed(self, key):
        """The value of a line `key=value` of its output, once it is there."""

        def find():
            require(self.process.poll() is None, f"{self.name} ended by itself")
            for line in self.out.read_text().splitlines(keepends=True):
                if line.startswith(f"{key}=") and line.endswith("\n"):
                    return line.strip().split("=", 1)[1]
            return None

        return until(find, 20, f"{self.name} prints {key}=", pause=0.01)

    def stop(self, signal, limit):
        """Sends that signal; the exit status, and the seconds that it took."""
        begun = time.monotonic()
        self.process.send_signal(signal)
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} still runs {limit} s after {signal.name}") from None
        return status, time.monotonic() - begun

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def started(command, name, **options):
    """A program for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        program = Program(command, Path(folder), name, **options)
        try:
            yield program
        except BaseException:
            for path in (program.out, program.err):
                for line in path.read_text(errors="replace").splitlines()[-20:]:
                    print(f"   {path.name}: {line}", file=sys.stderr)
            raise
        finally:
            program.end()


def demo(*flags):
    """The demo on free ports."""
    command = [exporter(), "demo", "--web.listen-address=127.0.0.1:0", *flags]
    return started(command, "demo")


def with_numbers(base):
    """The page, if every source was tried and there is money on it."""
    status, _, _ = fetch(base + "-/ready")
    page = text(base + "metrics")
    return page if status == 200 and "\nmarketing_messages_spend{" in page else None


def series(page):
    """The lines of a page that are samples."""
    return [line for line in page.splitlines() if line and not line.startswith("#")]


def campaign_part(page):
    """What stands after the exporter's own metrics."""
    begin = page.find("# HELP marketing_messages_up ")
    require(begin >= 0, "the page has no marketing_messages_up")
    return page[begin:]


def main(check):
    """Runs a script's check; a failure is one line and exit status 1."""
    try:
        check()
    except (Failure, subprocess.SubprocessError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
