"""Controllers that divide the workflows of a real API server: one is killed, one joins, and what that costs.

`propeller controller --processes N` runs workflows of two tasks, on one API server or, by a routing table, on several.
When the first task of each has its pod, one process gets SIGKILL; later a controller of its own joins and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from loadtest import workflows
from loadtest._fleet import LEASE_NAMESPACE, fleet, in_memory
from loadtest._fleet import several as several_servers
from loadtest._killed import NAMESPACE, READY, all_ended, problems_of
from loadtest._ledger import Ledger
from loadtest._line import Line
from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import LEASES, PODS, Client
from propeller.reconcile import ElectionOptions
from propeller.reconcile.shards._members import LOAD_ANNOTATION
from propeller.storage import Storage, StorageOptions
from propeller.testing import KubeApiserver

PARALLEL, CHAIN = 1, 1
TASKS = PARALLEL + CHAIN
MAX_TASK = 20.0  # seconds
GROUP = "propeller-controller-shards"
DEADLINE = 240.0  # seconds: something hangs, or the machine is far too slow
_MAP = "propeller.dev/shard-map"
_PID = re.compile(rb"process (\d{1,3}) has pid (\d{1,9})")


class Outcome(msgspec.Struct, frozen=True):
    """Seconds, and `problems` in sentences."""

    workflows: int
    take_over: float
    """From the kill of a process until its shards have other holders."""
    join: float
    """From the start of another controller until it holds shards."""
    leave: float
    """From its SIGTERM until its shards have other holders."""
    carried: list[int]
    """Executions that each process had before the kill, as its Lease says."""
    pods: list[int]
    """On each API server."""
    problems: list[str]


class Group:
    """The shard map as the server has it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def holders(self) -> dict[str, str]:
        found = await self._client.get(LEASES, GROUP, LEASE_NAMESPACE)
        map_ = msgspec.json.decode((found.metadata.annotations or {})[_MAP])
        holders: dict[str, str] = map_["holders"]
        return holders

    async def carried(self) -> list[int]:
        """How many executions each member says that it has."""
        leases = (await self._client.list(LEASES, LEASE_NAMESPACE)).items
        texts = [(lease.metadata.annotations or {}).get(LOAD_ANNOTATION, "") for lease in leases]
        return [round(sum(msgspec.json.decode(text, type=dict[str, float]).values())) for text in texts if text]

    async def seconds_until(self, condition: Callable[[dict[str, str]], bool]) -> float:
        """How long it takes until the holders are as wanted."""
        began = time.monotonic()
        while time.monotonic() - began < DEADLINE:
            with contextlib.suppress(Exception):
                if condition(await self.holders()):
                    break
            await asyncio.sleep(0.05)
        return time.monotonic() - began


class Controllers:
    """One `propeller controller`, with the processes that it starts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pids: dict[int, int] = {}
        self.log: list[bytes] = []

    @property
    def is_ready(self) -> bool:
        return any(READY in line for line in self.log)

    def cpu(self) -> float:
        """Seconds of processor time that its processes have taken."""
        ticks = 0
        for pid in (self.process.pid, *self.pids.values()):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime
        return ticks / os.sysconf("SC_CLK_TCK")

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(line)
            if found := _PID.search(line):
                self.pids[int(found[1])] = int(found[2])


@asynccontextmanager
async def controllers(*options: str) -> AsyncIterator[Controllers]:
    command = (sys.executable, "-m", "propeller.cli", "controller", *options)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    made = Controllers(process)
    reading = asyncio.create_task(made.read())
    try:
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading


async def run(
    servers: Sequence[KubeApiserver],
    directory: Path,
    count: int,
    processes: int,
    seed: int = 1,
    *,
    max_task: float = MAX_TASK,
) -> Outcome:
    """Run that many workflows to their end, with a kill, a join and a leave."""
    draw = random.Random(seed)
    async with (
        fleet(servers, directory) as of,
        Storage(StorageOptions(metadata_prefix=of.prefix)) as storage,
    ):
        client = of.client
        ledger, group = of.ledger(lambda: draw.uniform(0.0, max_task)), Group(client)
        async with (
            ledger.running(),
            all_ended(client, count) as (ended, _),
            controllers(*of.options, "--processes", str(processes)) as several,
        ):
            await group.seconds_until(lambda holders: len(set(holders.values())) == processes)
            await _begin(client, ledger, count)
            before = await group.holders()
            carried = await group.carried()
            os.kill(several.pids[1], signal.SIGKILL)
            whole = await group.seconds_until(
                lambda holders: (
                    len(set(holders.values()) & set(before.values())) < processes and len(holders) == len(before)
                )
            )
            members = set((await group.holders()).values())
            async with controllers(*of.options, "--shards", "16"):
                joined = await group.seconds_until(lambda holders: bool(set(holders.values()) - members))
                await asyncio.sleep(2.0)
                began = time.monotonic()
            left = time.monotonic() - began
            async with asyncio.timeout(DEADLINE):
                await ended.wait()
        pods = [sum([len(page.items) async for page in one.pages(PODS, NAMESPACE)]) for one in of.clients]
        problems = [problem async for problem in problems_of(client, storage, ledger, count, TASKS)]
    if any(b"Traceback" in line for line in several.log):
        problems.append("a controller raised:\n" + b"".join(several.log).decode())
    return Outcome(count, whole, joined, left, carried, pods, problems)


async def take_over_alone(
    servers: Sequence[KubeApiserver], directory: Path, count: int, seed: int = 1, *, max_task: float = MAX_TASK
) -> tuple[float, list[str]]:
    """Kill one of two controllers that have no supervisor: seconds until its shards have another holder, and what is
    not as it should be once all has ended.
    """
    draw = random.Random(seed)
    async with fleet(servers, directory) as of, Storage(StorageOptions(metadata_prefix=of.prefix)) as storage:
        ledger, group = of.ledger(lambda: draw.uniform(0.0, max_task)), Group(of.client)
        async with (
            ledger.running(),
            all_ended(of.client, count) as (ended, _),
            controllers(*of.options, "--shards", "16") as one,
            controllers(*of.options, "--shards", "16"),
        ):
            await group.seconds_until(lambda holders: len(set(holders.values())) == 2)
            await _begin(of.client, ledger, count)
            shards = len(await group.holders())
            one.process.kill()
            seconds = await group.seconds_until(
                lambda holders: len(set(holders.values())) == 1 and len(holders) == shards
            )
            async with asyncio.timeout(DEADLINE):
                await ended.wait()
        return seconds, [problem async for problem in problems_of(of.client, storage, ledger, count, TASKS)]


def _resources(count: int) -> list[dict[str, Any]]:
    return workflows.resources(workflows.counting(PARALLEL, CHAIN), count, "w", namespace=NAMESPACE)


async def _create(client: Client, resources: Sequence[dict[str, Any]]) -> None:
    for resource in resources:
        await client.create(FLYTE_WORKFLOWS, resource, NAMESPACE)


async def _begin(client: Client, ledger: Ledger, count: int) -> None:
    """Create that many workflows, and wait until there are as many pods."""
    await _create(client, _resources(count))
    async with asyncio.timeout(DEADLINE):
        while ledger.created.total() < count:
            await asyncio.sleep(0.1)


class Throughput(msgspec.Struct, frozen=True):
    """Of a run without a kill."""

    seconds: float
    cpu: float
    """Seconds of processor time of all controllers together."""


async def throughput(servers: Sequence[KubeApiserver], directory: Path, count: int, processes: int) -> Throughput:
    """Run that many workflows, whose tasks end at once, by so many processes; by one without shards if it is 1."""
    options = ("--no-elect",) if processes == 1 else ("--processes", str(processes))
    async with fleet(servers, directory) as of:
        client = of.client
        ledger, group = of.ledger(lambda: 0.0), Group(client)
        resources = _resources(count)
        async with (
            ledger.running(),
            all_ended(client, count) as (ended, _),
            controllers(*of.options, *options) as running,
        ):
            if processes > 1:
                await group.seconds_until(lambda holders: len(set(holders.values())) == processes)
            async with asyncio.timeout(DEADLINE):
                while not running.is_ready:
                    await asyncio.sleep(0.1)
            before, began = running.cpu(), time.monotonic()
            await _create(client, resources)
            async with asyncio.timeout(DEADLINE):
                await ended.wait()
            return Throughput(time.monotonic() - began, running.cpu() - before)


@contextmanager
def _servers(count: int) -> Iterator[tuple[list[KubeApiserver], Path]]:
    """Run so many API servers, and have a directory for the rest."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as name, several_servers(Path(name), count) as servers:
        yield servers, Path(name)


def measure(
    *,
    scale: float = 1.0,
    seed: int = 1,
    servers: tuple[int, ...] | None = None,
    processes: tuple[int, ...] | None = None,
) -> Iterator[Line]:
    count = max(10, round(400 * scale))
    alone: dict[int, float] = {}
    """By number of servers, milliseconds of one process."""
    for clusters in servers or (1,):
        for number in processes or (1, 2, 4):
            with _servers(clusters) as (made, directory):
                found = uvloop.run(throughput(made, directory, count, number))
            tasks = count * TASKS
            each = 1000 * found.cpu / tasks
            at = f"{number} processes" if number > 1 else "1 process without shards"
            at += f", {clusters} API servers" if clusters > 1 else ""
            yield Line(name=f"{at}: tasks a second", value=tasks / found.seconds, unit="")
            yield Line(name=f"{at}: controller CPU for each task", value=each, unit="ms")
            if number == 1:
                alone[clusters] = each
            elif clusters in alone:
                yield Line(name=f"{at}: the same, as a part of that of 1 process", value=each / alone[clusters],
                           unit="", budget=1.15)  # fmt: skip
    for clusters in servers or (1,):
        for number in processes or (2, 4):
            if number > 1:
                yield from _of_a_kill(clusters, number, max(10, round(300 * scale)), seed)
    yield from _of_a_kill_alone(max(10, round(100 * scale)), seed)


def _of_a_kill(servers: int, processes: int, count: int, seed: int) -> Iterator[Line]:
    with _servers(servers) as (made, directory):
        outcome = uvloop.run(run(made, directory, count, processes, seed))
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    at = f"{processes} processes, {outcome.workflows} workflows"
    at += f", {servers} API servers" if servers > 1 else ""
    yield Line(name=f"{at}: seconds until the shards of a killed process are held again", value=outcome.take_over,
               unit="s", budget=20.0)  # fmt: skip
    yield Line(name=f"{at}: seconds until a controller that starts holds shards", value=outcome.join, unit="s",
               budget=5.0)  # fmt: skip
    yield Line(name=f"{at}: seconds until a controller that is stopped has handed over and ended",
               value=outcome.leave, unit="s", budget=5.0)  # fmt: skip
    yield Line(name=f"{at}: executions of the process that has most of them", value=max(outcome.carried), unit="",
               budget=outcome.workflows)  # fmt: skip
    yield Line(name=f"{at}: workflows, attempts and pods that are not as they should be",
               value=len(outcome.problems), unit="", budget=0)  # fmt: skip


def _of_a_kill_alone(count: int, seed: int) -> Iterator[Line]:
    with _servers(1) as (made, directory):
        seconds, problems = uvloop.run(take_over_alone(made, directory, count, seed))
    for problem in problems:
        print(problem, file=sys.stderr)
    yield Line(name="2 controllers without a supervisor: seconds until the shards of a killed one are held again",
               value=seconds, unit="s", budget=ElectionOptions().duration + 5.0)  # fmt: skip
    yield Line(name="workflows, attempts and pods that are not as they should be then", value=len(problems), unit="",
               budget=0)  # fmt: skip
