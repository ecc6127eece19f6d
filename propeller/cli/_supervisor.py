"""Supervisor: runs several controllers as processes of one machine, which divide the workflows into shards.

Guarantees
    As many processes run as were asked for. One that ends is replaced, after pauses that grow while it goes on ending;
    the others hear at once that its member is dead, and take its shards without waiting for its Lease.
    SIGTERM and SIGINT are passed on; each process hands its shards over. After `GRACE_SECONDS`, or a second signal,
    processes are killed.
    A process ends by itself when its supervisor is gone, as its standard input ends then.
    One port has the health and metrics of all: see `Front`.
Caveats
    Lines of the logs come from several processes: each says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from propeller.beside import beside
from propeller.cli._front import Front
from propeller.pauses import Pauses
from propeller.telemetry import MetricsOptions, serve_metrics

GRACE_SECONDS = 25.0
"""That processes have to hand over. A kubelet kills 30 s after SIGTERM."""

PAUSE, PAUSE_CAP = 0.5, 30.0
"""Seconds before a process that ended is replaced; doubles."""

_log = logging.getLogger(__name__)


class Child:
    """One place for a process: it runs, has ended, or is about to be replaced."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.member = ""
        """Its name among those that divide the shards, once it has joined."""
        self.pauses = Pauses(PAUSE, PAUSE_CAP)

    def send(self, line: str) -> None:
        """Tell it something; it may be dead."""
        if self.process is not None and self.process.stdin is not None and not self.process.stdin.is_closing():
            with contextlib.suppress(ConnectionError):
                self.process.stdin.write(f"{line}\n".encode())


class Supervisor:
    """Runs `command` (arguments of propeller) in `count` processes."""

    def __init__(self, command: Sequence[str], count: int, front: Front) -> None:
        self._command = command
        self._front = front
        self._children = [Child(number) for number in range(1, count + 1)]
        front.missing = {child.number for child in self._children}

    async def run(self) -> None:
        """Until cancelled; then all processes end."""
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(self._keep(child), name=f"process {child.number}")
        finally:
            await self._end_all()

    async def _keep(self, child: Child) -> None:
        while True:
            code = await self._live(child)
            pause = child.pauses.failed(asyncio.get_running_loop().time())
            _log.warning("process %d ended with %s; another one in %.1f s", child.number, _named(code), pause)
            await asyncio.sleep(pause)

    async def _live(self, child: Child) -> int:
        """One life of a process; returns its exit code."""
        reports, theirs = os.pipe()
        try:
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "propeller.cli", *self._command),
                *("--process", str(child.number), "--report-to", str(theirs)),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs,),
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone
            )
        finally:
            os.close(theirs)
        _log.info("process %d has pid %d", child.number, child.process.pid)
        async with beside(self._listen(child, reports), f"listen to process {child.number}"):
            code = await child.process.wait()
        self._ended(child)  # not when this is cancelled: a process that is told to end hands its shards over itself
        return code

    async def _listen(self, child: Child, reports: int) -> None:
        """Hear which port a process serves, and which member it is."""
        with os.fdopen(reports, "rb", buffering=0) as pipe:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
            try:
                while line := await reader.readline():
                    what, _, value = line.decode().strip().partition(" ")
                    if what == "port":
                        self._front.ports[child.number] = int(value)
                        self._front.missing.discard(child.number)
                    elif what == "member":
                        child.member = value
            finally:
                transport.close()

    def _ended(self, child: Child) -> None:
        self._front.ports.pop(child.number, None)
        self._front.missing.add(child.number)
        if member := child.member:
            child.member = ""
            for other in self._children:
                if other is not child:
                    other.send(f"dead {member}")

    async def _end_all(self) -> None:
        running = [child.process for child in self._children if child.process and child.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await _all_ended(running)
        except (TimeoutError, asyncio.CancelledError):
            for process in running:
                if process.returncode is None:
                    _log.warning("pid %d does not end, and is killed", process.pid)
                    process.kill()
            await _all_ended(running)


@asynccontextmanager
async def fronted(host: str, port: int, settings: MetricsOptions) -> AsyncIterator[Front]:
    """Serve the one port of all processes."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        front = Front(session)
        async with serve_metrics(
            front,
            port=port,
            host=host,
            settings=settings,
            live=front.live,
            ready=front.ready,
            pages={"/queue": front.queue, "/clusters": front.clusters},
        ):
            yield front


async def supervise(command: Sequence[str], count: int, host: str, port: int, settings: MetricsOptions) -> None:
    """Run `count` processes until cancelled."""
    async with fronted(host, port, settings) as front:
        await Supervisor(command, count, front).run()


async def _all_ended(processes: Sequence[asyncio.subprocess.Process]) -> None:
    for process in processes:
        await process.wait()


def _named(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal, which has no name
        return f"signal {-code}"
