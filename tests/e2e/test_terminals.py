"""`propeller run` and `propeller status` on a terminal: narrow, dumb, without colours."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import PROPELLER, Propeller
from tests.unit.cli.screen import Screen

Flow = Callable[[str], Path]

pytestmark = pytest.mark.needs("embedded", "flytekit")

COLOURS = {*range(30, 49), *range(90, 108)}
"""Arguments of SGR, the control sequence of styles."""

TEXT = (
    "@task\ndef a_task_whose_name_is_longer_than_the_terminal_is_wide(n: int) -> int:\n    print('said', n)\n"
    "    return n\n"
    "@workflow\ndef wf(n: int = 1) -> int:\n"
    "    return a_task_whose_name_is_longer_than_the_terminal_is_wide(n=n)\n"
)


def on_terminal(propeller: Propeller, columns: int, *words: str | Path, **env: str) -> str:
    """All that a command writes on a terminal of that many columns; it must succeed."""
    code, written = ended_on_terminal(propeller, columns, *words, **env)
    assert code == 0, written
    return written


def ended_on_terminal(propeller: Propeller, columns: int, *words: str | Path, **env: str) -> tuple[int, str]:
    """The exit code of a command, and all that it writes on a terminal of that many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in propeller.environment.items() if key not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [PROPELLER, *map(str, words)],
        env=environment | {"TERM": "xterm-256color"} | env,
        cwd=propeller.home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = bytearray()
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # the last process that had the terminal has ended
        pass
    finally:
        os.close(ours)
    return process.wait(), written.decode()


def has_colours(written: str) -> bool:
    styles = re.findall(r"\x1b\[([0-9;]*)m", written)
    return any(int(number or 0) in COLOURS for style in styles for number in style.split(";"))


@pytest.mark.parametrize("columns", [40, 60])
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
def test_a_run_on_a_narrow_terminal_leaves_one_tree_whose_long_names_are_shortened(
    propeller: Propeller, flow: Flow, columns: int, env: dict[str, str]
) -> None:
    words = ("run", flow(TEXT), "wf", "--python", sys.executable)
    written = on_terminal(propeller, columns, *words, **env)
    screen = Screen(columns)
    screen.write(written)
    lines = [line for line in screen.lines if line]
    assert screen.wrapped <= 1, "what a task prints is never cut, and so may go on in the next line"
    assert [line for line in lines if "wf" in line and line.startswith("✔")] == [lines[-5]]
    assert lines[-4].startswith("└── ✔ a_task_")
    assert "…" in lines[-4]
    assert lines[-3:] == ["{", '  "o0": 1', "}"]
    assert "said 1" in "".join(lines[:-5])
    assert has_colours(written) != bool(env)


@pytest.mark.parametrize("columns", [40, 60])
def test_a_dumb_terminal_gets_lines_without_control_sequences(propeller: Propeller, flow: Flow, columns: int) -> None:
    words = ("run", flow(TEXT), "wf", "--python", sys.executable)
    written = on_terminal(propeller, columns, *words, TERM="dumb")
    assert "\x1b" not in written
    assert "a_task_whose_name_is_longer_than_the_terminal_is_wide  n0" in written


def test_what_is_no_terminal_gets_lines_without_control_sequences(propeller: Propeller, flow: Flow) -> None:
    environment = propeller.environment
    del environment["COLUMNS"], environment["NO_COLOR"]
    ended = propeller.run(flow(TEXT), "wf", TERM="xterm-256color")
    assert "\x1b" not in ended.out + ended.err
    assert "a_task_whose_name_is_longer_than_the_terminal_is_wide  n0" in ended.err
    assert ended.json == {"o0": 1}


@pytest.mark.parametrize("columns", [40, 80])
def test_the_command_that_answers_a_gate_is_to_be_read_in_full_on_a_narrow_terminal(
    propeller: Propeller, flow: Flow, columns: int
) -> None:
    text = (
        "from datetime import timedelta\nfrom flytekit import wait_for_input\n"
        "@workflow\ndef wf():\n    wait_for_input('title', timeout=timedelta(seconds=1), expected_type=str)\n"
    )
    code, written = ended_on_terminal(propeller, columns, "run", flow(text), "wf", "--python", sys.executable)
    assert code == 1, "the gate's time is over"
    screen = Screen(columns)
    screen.write(written)
    assert re.search(r"propeller signal \w+ n0 VALUE -n [\w-]+", "".join(screen.lines)), screen.lines
