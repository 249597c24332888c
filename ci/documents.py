#!/usr/bin/env python3
"""Runs every command block of the documents against the simulated Graph API.

Each block runs in a new folder with a config and tokens. Programs that only an installation has, such as systemctl,
are listed in `NOT_RUN` with the reason; an entry that no document needs fails the check.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import tempfile
import textwrap
import time
from pathlib import Path

from processes import ROOT, exporter_path, fetch, require, run, run_check, spawn, start_demo, step, wait_until

PROGRAM = "marketing-messages-exporter"

# First words of commands that are not run, with the reason.
NOT_RUN = {
    "cargo": "other steps build and test",
    "bash": "the CI script itself",
    "apt": "the step deb_package installs the package",
    "docker": "the step containers builds and runs the image",
    "kubectl": "the step kubernetes applies the manifests",
    "systemctl": "the step systemd runs the unit",
    "useradd": "changes the system",
    "chmod": "changes the system",
    "htpasswd": "requests the password from the terminal",
    "runuser": "needs the user that useradd adds",
    "chown": "changes the system",
    "sudo": "changes the system",
    "cd": "each block runs in its own folder",
    "prom-label-proxy": "not a program of this project",
}

# Documents for maintainers; the release workflow runs their commands.
MAINTAINER_DOCUMENTS = {"docs/releasing.md"}

# Folders of an installation, which are replaced by folders of the block.
INSTALLED_FOLDERS = ("/run/secrets/", "/var/lib/node_exporter/", "target/release/")

APP_ID, APP_SECRET = "1234567890", "simulated-app-secret"

CONFIG = """\
graph: {{ url: "{url}" }}
businesses:
  - name: nordlicht
    access_token_file: tokens/acme
    ad_accounts: [{{ id: act_10150000000001101 }}]
"""

# Subcommands that end by themselves; without one, the program serves until a signal.
SUBCOMMANDS = {"check", "once", "discover", "backfill", "healthcheck"}


class Runner:
    """Runs the blocks of one document."""

    def __init__(self, url, token, folder):
        self.url, self.token, self.folder = url, token, folder
        self.port, self.simulator_port = free_port(), free_port()
        self.server = None
        self.history = None
        self.used = set()
        self.count = 0

    def close(self):
        if self.server:
            self.server.__exit__(None, None, None)
            self.server = None

    def workspace(self, block):
        """Creates the folder of a block, with the files that its commands expect."""
        self.count += 1
        place = self.folder / f"block{self.count}"
        for name in ("tokens", "run/secrets", "var/lib/node_exporter", "target/release"):
            (place / name).mkdir(parents=True)
        for name in ("token", "tokens/acme", "run/secrets/nordlicht"):
            (place / name).write_text(self.token)
            # `check --strict` fails for tokens that every user can read.
            (place / name).chmod(0o600)
        (place / "tokens/app").write_text(APP_SECRET)
        (place / "web.yaml").write_text("rate_limit: { burst: 100, interval: 1s }\n")
        shutil.copy(ROOT / "prometheus" / "rules.yaml", place / "rules.yaml")
        (place / "target/release" / PROGRAM).symlink_to(exporter_path())
        # `discover` never overwrites a config.
        if "--output.file=config.yaml" not in block:
            (place / "config.yaml").write_text(CONFIG.format(url=self.url))
        if self.history:
            shutil.copy(self.history, place / "history.txt")
        return place

    def run_block(self, block):
        """Runs the commands of a block in order."""
        place = self.workspace(block)
        commands = commands_of(block)
        serves = any(is_server(command) for command in commands)
        if not serves and re.search(r"10919|pidof", block):
            self.serve(f"{PROGRAM} --config.file={self.default_config()}", place)
        for command in commands:
            first = command.split()[0]
            if first in NOT_RUN:
                self.used.add(first)
            elif is_server(command):
                self.serve(command, place)
            else:
                self.execute(command, place)
        history = place / "history.txt"
        if history.exists():
            self.history = history

    def default_config(self):
        path = self.folder / "default.yaml"
        if not path.exists():
            (self.folder / "tokens").mkdir()
            (self.folder / "tokens/acme").write_text(self.token)
            path.write_text(CONFIG.format(url=self.url))
        return path

    def adapted(self, command, place):
        """Returns a command with the folders and ports of the block."""
        for folder in INSTALLED_FOLDERS[:2]:
            command = command.replace(folder, f"{place}{folder}")
        command = command.replace("10919", str(self.port)).replace("8642", str(self.simulator_port))
        words = command.split()
        is_without_url = "--config.file" not in command and "--graph.url" not in command
        if words[0].endswith(PROGRAM) and "discover" in words and is_without_url:
            command = re.sub(r"(\bdiscover\b)", rf"\1 --graph.url={self.url}", command, count=1)
        return command

    def environment(self):
        """Finds the program first, and uses no proxy."""
        programs = self.folder / "bin"
        if not programs.exists():
            programs.mkdir()
            (programs / PROGRAM).symlink_to(exporter_path())
        return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "no_proxy": "*", "NO_PROXY": "*"}

    def execute(self, command, place):
        """Runs a command that ends by itself; it must exit with status 0."""
        adapted = self.adapted(command, place)
        if "pidof" in adapted:
            adapted = re.sub(r'"\$\(pidof [^)]*\)"', str(self.process.process.pid), adapted)
        done = run(
            "bash", "-o", "pipefail", "-ec", adapted, stdin=self.token, limit=120, cwd=place, env=self.environment()
        )
        output = (done.stdout + done.stderr)[-600:]
        require(done.returncode == 0, f"{command}: exit status {done.returncode}: {output}")

    def serve(self, command, place):
        """Starts the exporter or the demo, and waits until it answers; the previous one is stopped."""
        self.close()
        adapted = self.adapted(command, place)
        if "--web.listen-address" not in adapted:
            adapted += f" --web.listen-address=127.0.0.1:{self.port}"
        words = shlex.split(adapted)
        words[0] = exporter_path()
        self.server = spawn(words, "documented", cwd=place, env=self.environment())
        self.process = self.server.__enter__()
        health = f"http://127.0.0.1:{self.port}/-/healthy"
        if "--simulator-only" in command:
            health = f"http://127.0.0.1:{self.simulator_port}/simulator"

        def answers():
            require(self.process.process.poll() is None, f"{command}: exited: {self.process.err.read_text()[-600:]}")
            return fetch(health)[0] in (200, 401)

        wait_until(answers, 30, f"{command} answers")


def commands_of(block):
    """Returns the commands of a block, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    commands = (re.sub(r"\s{2,}#.*$", "", line).strip() for line in lines)
    return [command for command in commands if command and not command.startswith("#")]


def is_server(command):
    words = command.split()
    if not words[0].endswith(PROGRAM):
        return False
    return not SUBCOMMANDS & set(words)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def blocks_of(document):
    """Returns the texts of the command blocks."""
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", document.read_text(), re.M | re.S)
    return [textwrap.dedent(text) for _, text in found]


def check():
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    used = set()
    with start_demo() as demo, tempfile.TemporaryDirectory(prefix="ci-") as name:
        url, token = demo.read_value("simulator").rstrip("/"), demo.read_value("token")
        for document in documents:
            title = str(document.relative_to(ROOT))
            blocks = blocks_of(document)
            if not blocks or title in MAINTAINER_DOCUMENTS:
                continue
            with step(title) as note:
                folder = Path(name) / title.replace("/", "-")
                folder.mkdir()
                runner = Runner(url, token, folder)
                try:
                    for block in blocks:
                        runner.run_block(block)
                finally:
                    runner.close()
                used |= runner.used
                note(f"{len(blocks)} blocks")
        demo.stop(signal.SIGTERM, 10)
    unused = set(NOT_RUN) - used
    require(not unused, f"NOT_RUN has commands that no document shows: {', '.join(sorted(unused))}")


started_at = time.monotonic()
run_check(check)
print(f"documents: {time.monotonic() - started_at:.0f} s")
