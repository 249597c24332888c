#!/usr/bin/env python3
"""Prints what a command line becomes when TAB is pressed at its end in zsh.

Usage: zsh_completion.py COMPLETIONS_FOLDER LINE
"""

import os
import pty
import sys
import tempfile
import time
from pathlib import Path

# Ctrl-X writes the current line to a file.
SETUP = """\
PS1=; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D
write_buffer() {{ print -r -- $BUFFER > {result_file}.part; mv {result_file}.part {result_file} }}
zle -N write_buffer; bindkey '^X' write_buffer
: > {ready_file}
"""
TIMEOUT_SECONDS = 20


def main():
    folder, line = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ci-") as work:
        result_file, ready_file = Path(work) / "result", Path(work) / "ready"
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", HOME=work)
            os.execvp("zsh", ["zsh", "-f", "-i"])
        try:
            os.write(terminal, SETUP.format(folder=folder, result_file=result_file, ready_file=ready_file).encode())
            wait_for(ready_file)
            os.write(terminal, f"{line}\t\x18".encode())
            wait_for(result_file)
            print(result_file.read_text().strip())
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)


def wait_for(path):
    end = time.monotonic() + TIMEOUT_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            sys.exit(f"timed out after {TIMEOUT_SECONDS} s: zsh does not create {path.name}")
        time.sleep(0.05)


main()
