"""Output on a terminal, also a narrow one, and in a file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from propeller.cli._console import can_redraw, console_on, print_fitting
from propeller.cli._progress import LiveTree
from propeller.cli._tree import tree
from propeller.clock import SYSTEM_CLOCK
from propeller.workflow import Execution
from tests.unit.cli.screen import Screen
from tests.unit.workflow.drive import Driver, execution, graph, plan, task

LONG = "a_step_whose_name_" + "goes_on_and_" * 20 + "ends"


class Terminal(io.StringIO):
    """A stream that says of itself that it is one."""

    def isatty(self) -> bool:
        return True


def begun_and_done(*names: str) -> tuple[Execution, Execution]:
    """An execution before anything has run, and one that has succeeded."""
    of = plan(graph(*(task(f"n{number}", name=f"my.module.{name}") for number, name in enumerate(names))))
    return execution(of), Driver(execution(of)).run()


def drawn(columns: int, *names: str) -> Screen:
    """The screen after a live tree was drawn several times, with lines of tasks in between."""
    stream, screen = Terminal(), Screen(columns)
    console = Console(file=stream, force_terminal=True, width=columns, height=50, soft_wrap=True)
    live = LiveTree(console, SYSTEM_CLOCK)
    begun, done = begun_and_done(*names)
    with live._live:
        live.note(f"reading {LONG}")
        live._live.refresh()
        for state in (begun, begun, done):
            live.changed(state)
            live._live.refresh()
            live.printed("task", ["printed"])
    screen.write(stream.getvalue())
    return screen


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_live_tree_that_is_wider_than_its_terminal_stays_one_tree(columns: int) -> None:
    """Regression: its lines went on in the next ones, and each redrawing left those behind."""
    screen = drawn(columns, LONG, "short")
    assert screen.wrapped == 0
    lines = [line for line in screen.lines if line]
    assert lines[:3] == ["task │ printed"] * 3
    root, long, short = lines[3:]
    assert root.startswith("✔ w")
    assert long.startswith("├── ✔ a_step_")
    assert "…" in long
    assert short.startswith("└── ✔ short")
    assert columns < 40 or (long.endswith(" s") and "  n0  " in long), "its id and time stay to be seen"


def test_names_have_the_room_that_there_is() -> None:
    assert f"├── ✔ {LONG}  n0  " in "\n".join(drawn(400, LONG, "short").lines)


def test_a_tree_that_is_printed_once_is_wrapped_within_the_terminal_and_whole_elsewhere() -> None:
    _, done = begun_and_done(LONG)
    stream = Terminal()
    print_fitting(Console(file=stream, force_terminal=True, width=40), tree(done, 1005.0))
    screen = Screen(40)
    screen.write(stream.getvalue())
    assert screen.wrapped == 0
    assert "…" in "".join(screen.lines)
    file = io.StringIO()
    print_fitting(console_on(file), tree(done, 1005.0))
    assert f"✔ {LONG}  n0" in file.getvalue()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_and_a_file_are_not_drawn_on(
    term: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert can_redraw(console_on(Terminal()))
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours are asked for, and no control sequences
    with (tmp_path / "file").open("w") as file:
        assert not can_redraw(console_on(file))
    monkeypatch.setenv("TERM", term)
    assert not can_redraw(console_on(Terminal()))
