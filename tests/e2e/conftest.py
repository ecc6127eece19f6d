"""The command as a person types it: a process of its own, its output, its exit code, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.own_servers import own_server, server

__all__ = ["own_server", "server"]

PROPELLER = str(Path(sys.executable).with_name("propeller"))
DEADLINE = 90.0
"""Seconds for one command: a bound on what hangs, not a goal."""
EXAMPLES = Path(__file__).parents[2] / "examples"
LOCALLY = Path(__file__).with_name("flytekit_locally.py")


class Ended(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def _heed_interrupts() -> None:
    """A shell has what it starts in the background ignore SIGINT, and so what that starts: the tests, and propeller."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Propeller:
    """Runs `propeller`; everything that it starts has `home` in its environment, so that leftovers are found."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "KUBE"))},
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "TMPDIR": str(home / "tmp"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        (home / "tmp").mkdir()

    def start(self, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROPELLER, *map(str, arguments)],
            env=self.environment | env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )

    def __call__(self, *arguments: str | Path, **env: str) -> Ended:
        process = self.start(*arguments, **env)
        try:
            out, err = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
            pytest.fail(f"propeller {arguments} did not end within {DEADLINE} s:\n{err}")
        return Ended(process.returncode, out, err)

    def run(self, *arguments: str | Path, **env: str) -> Ended:
        return self("run", *arguments, "--python", sys.executable, **env)

    def leftovers(self) -> list[str]:
        """Command lines of processes that were started below our home and still live."""
        mark = str(self.home).encode()
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal() or int(process.name) == os.getpid():
                continue
            try:
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue  # it ended while we looked
        return found


@pytest.fixture
def propeller(tmp_path: Path) -> Iterator[Propeller]:
    command = Propeller(tmp_path)
    yield command
    until = time.monotonic() + 60
    while (left := command.leftovers()) and time.monotonic() < until:
        time.sleep(0.05)  # the kernel takes a moment to end what was killed
    assert not left, "processes were left behind"


@pytest.fixture
def flow(tmp_path: Path) -> Callable[[str], Path]:
    """Write a flytekit file; the usual names are imported in it."""

    def write(text: str) -> Path:
        path = tmp_path / "flow.py"
        path.write_text("import os, sys, typing\nfrom flytekit import *\n" + text)
        return path

    return write


def locally(file: Path, workflow: str, **inputs: Any) -> Any:
    """The outputs by flytekit alone."""
    done = subprocess.run(
        [sys.executable, str(LOCALLY), str(file), workflow, json.dumps(inputs)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),  # tasks may write files where they are
    )
    return json.loads(done.stdout)
