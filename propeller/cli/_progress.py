"""How an execution goes, on standard error: a live tree on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from propeller.beside import beside
from propeller.cli._console import CutLines, can_redraw, console_on
from propeller.cli._output import say
from propeller.cli._tree import node_line, tree
from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.text import one_line, visible
from propeller.workflow import Execution

REFRESH_SECONDS = 0.1
"""Ten times a second looks alive, and costs little."""


class Progress:
    """Takes executions as they change; use `watching`."""

    shows_whole_nodes = False
    """Whether what a node waits for is to be read in full, however wide the terminal is."""

    def changed(self, execution: Execution) -> None:
        """Called when the execution has changed. Must be quick, as it runs between two reconciles."""

    def note(self, text: str) -> None:
        """Something else that is worth a line."""

    def say(self, text: str) -> None:
        """Something that a user has to know to go on: it is printed in any case, and stays to be seen."""
        say(text, to_stderr=True)

    def printed(self, label: str, lines: Sequence[str]) -> None:
        """A task has printed lines."""


class PrintedOnly(Progress):
    """Shows only the output of tasks."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(Text(visible(text)))

    def printed(self, label: str, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(Text.assemble((f"{one_line(label)} │ ", "dim"), visible(line)))


class LiveTree(PrintedOnly):
    """The execution as a tree that is redrawn."""

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(console)
        self._clock = clock
        self._execution: Execution | None = None
        self._note = ""
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._draw)

    def changed(self, execution: Execution) -> None:
        self._execution = execution

    def note(self, text: str) -> None:
        self._note = text

    async def run(self) -> None:
        with self._live:
            try:
                while True:
                    self._live.refresh()
                    await asyncio.sleep(REFRESH_SECONDS)
            finally:
                self._note = ""
                self._live.refresh()

    def _draw(self) -> RenderableType:
        if self._execution is None:
            return CutLines(Text(visible(self._note), style="dim"))
        return CutLines(tree(self._execution, self._clock.now()))


class Lines(PrintedOnly):
    """One line for each node that changes its phase."""

    shows_whole_nodes = True

    def __init__(self, console: Console, clock: Clock) -> None:
        super().__init__(console)
        self._clock = clock
        self._phases = b""

    def changed(self, execution: Execution) -> None:
        before, now = self._phases, bytes(execution.phases)
        self._phases = now
        if before == now:
            return
        for node in execution.user_nodes():
            if now[node] != (before[node] if node < len(before) else 0):
                self._console.print(node_line(execution, node, self._clock.now()))

    def note(self, text: str) -> None:
        self._console.print(Text(visible(text), style="dim"))


@asynccontextmanager
async def watching(
    *, quiet: bool, progress: bool = True, stream: TextIO | None = None, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Progress]:
    """Show progress and task output until the block is left; `quiet` shows nothing, without `progress` only task
    output.
    """
    console = console_on(stream or sys.stderr)
    if quiet:
        yield Progress()
    elif not progress:
        yield PrintedOnly(console)
    elif not can_redraw(console):
        yield Lines(console, clock)
    else:
        live = LiveTree(console, clock)
        async with beside(live.run(), "live tree"):
            yield live
