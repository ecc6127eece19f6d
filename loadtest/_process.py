"""A controller as a process of its own, with its resource usage."""

from __future__ import annotations

import asyncio
import math
import re
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import psutil

from propeller.testing import free_ports

POLL_INTERVAL = 0.25  # seconds between two looks at its memory and health, which cost it 0.8 ms
MAX_START = 15.0  # seconds
MAX_WORK = 60.0  # seconds
QUIET_SECONDS, QUIET_SHARE = 2.0, 0.03
"""It is quiet if it takes no more than this share of a core for so long. Health and metrics cost it a hundredth."""
LATE = 0.05
"""Seconds: a loop that lags by more is late, and should be so for one in a hundred samples at most."""
_MAX_LAG = re.compile(rb"^propeller_loop_lag_max_seconds (\S+)$", re.MULTILINE)
_LAGS = re.compile(rb'^propeller_loop_lag_seconds_bucket\{le="(?P<most>\S+)"\} (?P<count>\S+)$', re.MULTILINE)


def cpu(process: psutil.Process) -> float:
    """Seconds that it has taken so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Taken(msgspec.Struct):
    """Usage of the process up to now. `answers` are the seconds in which it answered /healthz, if it serves that: the
    lag of its loop, of the machine, and of our own loop.
    """

    peak: int = 0
    answers: list[float] = []

    def answered(self, share: float) -> float:
        """The quantile, in seconds; 0 without answers."""
        ordered = sorted(self.answers)
        return ordered[int((len(ordered) - 1) * share)] if ordered else 0.0


class Lags(msgspec.Struct, frozen=True):
    """`longest` in seconds; `buckets` counts samples, each with all that are shorter, as Prometheus does."""

    longest: float
    buckets: dict[float, float]

    def since(self, before: Lags) -> Lags:
        """The samples after `before` was read; the longest stays that of all."""
        return Lags(self.longest, {most: count - before.buckets.get(most, 0.0) for most, count in self.buckets.items()})

    def beyond(self, seconds: float) -> float:
        """The share that was longer than a bound of the buckets; 0 if there are none."""
        total = self.buckets.get(math.inf, 0.0)
        return (total - self.buckets[seconds]) / total if total else 0.0


class ControllerProcess:
    """One that runs; see `started`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._seen = psutil.Process(process.pid)
        self.url = f"http://127.0.0.1:{port}"
        self.taken = Taken()

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu(self._seen)

    @property
    def memory(self) -> int:
        """Bytes that are resident now."""
        return int(self._seen.memory_info().rss)

    async def lags(self) -> Lags:
        """The lag of its loop so far, by its own metrics; empty if it has none."""
        text = await self._metrics()
        longest = _MAX_LAG.search(text)
        buckets = {float(found["most"]): float(found["count"]) for found in _LAGS.finditer(text)}
        return Lags(float(longest[1]) if longest else 0.0, buckets)

    async def _metrics(self) -> bytes:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
                return await answer.read()
        except aiohttp.ClientError:
            return b""

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def ready(self) -> None:
        """Wait until it says so at /readyz; one that does not serve that is taken as ready after `MAX_START`."""
        until = time.monotonic() + MAX_START
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until:
                try:
                    async with session.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    assert self._process.returncode is None, "the controller has ended"
                await asyncio.sleep(0.05)

    async def quiet(self) -> None:
        """Wait until it takes next to no CPU, `MAX_WORK` at most."""
        until = time.monotonic() + MAX_WORK
        before = self.cpu
        while time.monotonic() < until:
            await asyncio.sleep(QUIET_SECONDS)
            now = self.cpu
            if now - before < QUIET_SHARE * QUIET_SECONDS:
                return
            before = now

    async def watch(self) -> None:
        """Look at it until cancelled."""
        async with aiohttp.ClientSession() as session:
            while self._process.returncode is None:
                began = time.perf_counter()
                try:
                    async with session.get(f"{self.url}/healthz") as answer:
                        await answer.read()
                    self.taken.answers.append(time.perf_counter() - began)
                    self.taken.peak = max(self.taken.peak, self.memory)
                except (aiohttp.ClientError, psutil.NoSuchProcess):
                    pass  # it does not serve that yet, or is being killed
                await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def started(command: str, kubeconfig: Path, directory: Path) -> AsyncIterator[ControllerProcess]:
    """Start one, without waiting until it is ready; it is killed with the block. `command` may have
    {kubeconfig}, {port} and {directory} in it.
    """
    (port,) = free_ports(1)
    words = shlex.split(command.format(kubeconfig=kubeconfig, port=port, directory=directory))
    controller = ControllerProcess(await asyncio.create_subprocess_exec(*words), port)
    watching = asyncio.create_task(controller.watch(), name="watch the controller")
    try:
        yield controller
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await controller.kill()
