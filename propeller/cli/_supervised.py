"""What a process under a supervisor says to it and hears from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.beside import beside
from propeller.errors import PropellerError
from propeller.reconcile.shards import Membership


class Supervised:
    """`process` is the number of this process, `report_to` the descriptor on which its supervisor listens: "" and None
    without one.
    """

    def __init__(self, process: str, report_to: int | None) -> None:
        self.process = process
        self._report_to = report_to

    def report(self, what: str, value: object) -> None:
        """Tell the supervisor, if there is one."""
        if self._report_to is not None:
            with contextlib.suppress(OSError):  # it is gone: see `heeding`
                os.write(self._report_to, f"{what} {value}\n".encode())

    @asynccontextmanager
    async def heeding(self, membership: Membership) -> AsyncIterator[None]:
        """Take over from members that the supervisor has seen die. If it is gone itself, end as by SIGTERM."""
        if self._report_to is None:
            yield
            return
        self.report("member", membership.name)
        async with beside(_heed(membership), "heed supervisor"):
            yield


async def _heed(membership: Membership) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        what, _, member = line.decode().strip().partition(" ")
        if what == "dead":
            try:
                await membership.bury(member)
            except PropellerError:
                continue  # its Lease is silent soon
    os.kill(os.getpid(), signal.SIGTERM)
