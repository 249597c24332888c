#!/usr/bin/env python3
"""What zsh makes of a line when TAB is pressed at its end.

usage: ask_zsh.py FOLDER_OF_COMPLETIONS LINE
"""
import os
import pty
import sys
import tempfile
import time
from pathlib import Path

# The second key writes the line, as it is then, to a file.
SETUP = """\
PS1=; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D
told() {{ print -r -- $BUFFER > {told}.part; mv {told}.part {told} }}; zle -N told; bindkey '^X' told
: > {begun}
"""
PATIENCE = 20


def main():
    folder, line = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ci-") as work:
        told, begun = Path(work) / "told", Path(work) / "begun"
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", HOME=work)
            os.execvp("zsh", ["zsh", "-f", "-i"])
        try:
            os.write(terminal, SETUP.format(folder=folder, told=told, begun=begun).encode())
            wait(begun)
            os.write(terminal, f"{line}\t\x18".encode())
            wait(told)
            print(told.read_text().strip())
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)


def wait(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            sys.exit(f"zsh does not get to {path.name} within {PATIENCE} s")
        time.sleep(0.05)


main()
