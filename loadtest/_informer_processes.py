"""A measured process: its output, line by line, and its end with the block."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from loadtest._go_peers import ROOT

DEADLINE = 300.0  # seconds for one line: it hangs, or the machine is far too slow


class Measured:
    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    async def line(self) -> str:
        """The next line of output. Raises RuntimeError if the process ends, or is silent for too long."""
        assert self._process.stdout is not None
        try:
            found = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE)
        except TimeoutError as error:
            raise RuntimeError(f"{self._name} has said nothing for {DEADLINE:g} s") from error
        if not found:
            raise RuntimeError(f"{self._name} has ended, with {await self._process.wait()}")
        return found.decode().strip()

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def ask(self, line: str) -> str:
        """Write a line to it; its answer."""
        self.tell(line)
        return await self.line()

    def hold(self) -> None:
        """Suspend it until `go_on`."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    async def finished(self) -> None:
        """Wait for its end; raises RuntimeError if it failed."""
        if code := await asyncio.wait_for(self._process.wait(), DEADLINE):
            raise RuntimeError(f"{self._name} has ended, with {code}")


@asynccontextmanager
async def measured(name: str, command: Sequence[str]) -> AsyncIterator[Measured]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield Measured(name, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
