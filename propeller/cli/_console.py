"""Consoles for people: whether output can be redrawn, and how wide its lines may be.

`FORCE_COLOR` adds colours to a file, `NO_COLOR` removes them from a terminal (both by rich); neither decides whether
lines are redrawn.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_ANY_WIDTH = 100_000
"""Columns: more than the longest line that names, ids and messages, each bounded, can make."""


def console_on(stream: TextIO) -> Console:
    """A console whose lines stay whole: a terminal wraps them itself, and files are searched by line."""
    return Console(file=stream, highlight=False, soft_wrap=True)


def can_redraw(console: Console) -> bool:
    """Return whether output can be overwritten: on a terminal that accepts control sequences."""
    return console.file.isatty() and not console.is_dumb_terminal


class CutLines:
    """A renderable that cuts each line to one line of the terminal, ending in an ellipsis.

    Redrawn output must not wrap: the cursor moves up by as many lines as were written.
    """

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._shown, options.update(no_wrap=True, overflow="ellipsis"))


class WholeLines:
    """A renderable whose lines are as long as they are."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._shown, options.update(width=_ANY_WIDTH, no_wrap=True, overflow="ignore"))


def print_fitting(console: Console, shown: RenderableType) -> None:
    """Print within the terminal's width, wrapped; elsewhere in whole lines."""
    if can_redraw(console):
        console.print(shown, soft_wrap=False)
    else:
        console.print(WholeLines(shown))
