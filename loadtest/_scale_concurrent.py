"""Many long-running workflows of one pod at once, and a controller that is killed and started among them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import msgspec

from loadtest import workflows
from loadtest._line import Line
from loadtest._process import LATE, ControllerProcess, started
from loadtest._scale_target import NAMESPACE, Target, warm
from loadtest._scenarios import CONCURRENT_CREATES, create
from loadtest._statuses import Statuses
from loadtest.completer import Completer
from propeller.kube import Client

DEADLINE = 900.0  # seconds for each part: it hangs, or the machine is far too slow
IDLE_SECONDS = 10.0
RESUMED = 100
"""Workflows whose pod ends as the controller starts again."""


class Part(msgspec.Struct, frozen=True):
    """The cost of one part of the run."""

    seconds: float
    cpu: float
    server_cpu: float
    requests: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """`launched`: from the first creation until all pods run, and, but for the seconds, until statuses say so; `idle`:
    while nothing happens; `resumed`: from the start of another controller until the workflows whose pods had ended
    meanwhile have; `loaded`: from that start until it is quiet; `finished`: the ends of all others. Memory in bytes,
    `empty` that of a controller with nothing to do.
    """

    workflows: int
    resumed_workflows: int
    launched: Part
    idle: Part
    resumed: Part
    loaded: Part
    finished: Part
    empty: int
    memory: int
    memory_after: int
    peak: int
    answered: tuple[float, float]
    """Seconds in which 99 of 100 looks at its health were answered: by the first controller, and by the second."""
    late: tuple[float, float]
    """The share of samples in which its loop was late."""
    longest: tuple[float, float]
    """Seconds of the longest lag."""
    pods: int

    @property
    def cost(self) -> float:
        """Seconds of the controller's CPU for a task, launched by the first and finished by the second."""
        finished = max(1, self.workflows - self.resumed_workflows)
        return self.launched.cpu / self.workflows + self.finished.cpu / finished

    @property
    def server_cost(self) -> float:
        finished = max(1, self.workflows - self.resumed_workflows)
        return self.launched.server_cpu / self.workflows + self.finished.server_cpu / finished

    @property
    def requests(self) -> float:
        finished = max(1, self.workflows - self.resumed_workflows)
        return self.launched.requests / self.workflows + self.finished.requests / finished


class _Meter:
    """Parts one after the other."""

    def __init__(self, target: Target, client: Client, controller: ControllerProcess) -> None:
        self._target = target
        self._client = client
        self._controller = controller
        self._before = Part(0, 0, 0, 0)

    async def start(self, *, born: bool = False) -> None:
        """A part begins; `born`: the controller has just been started, and all that it has taken counts."""
        now = await self._now()
        self._before = msgspec.structs.replace(now, cpu=0.0) if born else now

    async def end(self) -> Part:
        now, before = await self._now(), self._before
        return Part(*(getattr(now, field) - getattr(before, field) for field in Part.__struct_fields__))

    async def _now(self) -> Part:
        requests = await self._target.requests(self._client)
        return Part(time.perf_counter(), self._controller.cpu, self._target.cpu, requests)


async def many_at_once(target: Target, controller: str, count: int) -> tuple[float, list[Line]]:
    """The controller's CPU for a task, in seconds, and the table."""
    statuses = Statuses()
    async with target.client() as client:
        completer = Completer(client, NAMESPACE, lambda: None, starts=True)
        async with completer.running(), statuses.followed(client, NAMESPACE):
            measured = await _measured(target, client, completer, statuses, controller, count)
    return measured.cost, list(_lines(measured, statuses))


async def _measured(
    target: Target, client: Client, completer: Completer, statuses: Statuses, controller: str, count: int
) -> Measured:
    async with started(controller, target.kubeconfig, target.directory) as first:
        await first.ready()
        await warm(client, completer, statuses)
        empty = first.memory
        meter = _Meter(target, client, first)
        lags_before = await first.lags()
        await meter.start()
        await _launch(client, completer, count)
        seconds = (await meter.end()).seconds
        answered, lags_launching = first.taken.answered(0.99), await first.lags()
        await statuses.wait_written(count, DEADLINE)  # that they run
        await first.quiet()
        launched = msgspec.structs.replace(await meter.end(), seconds=seconds)
        memory = first.memory
        await meter.start()
        await asyncio.sleep(IDLE_SECONDS)
        idle = await meter.end()
        longest = (await first.lags()).longest
    names = iter(sorted(completer.appeared))
    few = max(1, min(RESUMED, count // 2))
    async with started(controller, target.kubeconfig, target.directory) as second:
        meter = _Meter(target, client, second)
        await meter.start(born=True)
        completer.finish(itertools.islice(names, few))
        await statuses.wait_ended(few, DEADLINE)
        resumed = await meter.end()
        await second.quiet()
        loaded, memory_after = await meter.end(), second.memory
        await meter.start()
        completer.finish(names)
        await statuses.wait_ended(count, DEADLINE)
        finished, lags_after = await meter.end(), await second.lags()
        return Measured(
            workflows=count,
            resumed_workflows=few,
            launched=launched,
            idle=idle,
            resumed=resumed,
            loaded=loaded,
            finished=finished,
            empty=empty,
            memory=memory,
            memory_after=memory_after,
            peak=max(first.taken.peak, second.taken.peak),
            answered=(answered, second.taken.answered(0.99)),
            late=(lags_launching.since(lags_before).beyond(LATE), lags_after.beyond(LATE)),
            longest=(longest, lags_after.longest),
            pods=len(completer.uids),
        )


async def _launch(client: Client, completer: Completer, count: int) -> None:
    """Create so many workflows, and wait until a pod of each runs."""
    left = iter(workflows.resources(workflows.parallel(1), count, "w"))
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT_CREATES):
            group.create_task(create(client, left, NAMESPACE))
    async with asyncio.timeout(DEADLINE):
        while len(completer.started) < count:
            await asyncio.sleep(0.05)


def _lines(measured: Measured, statuses: Statuses) -> Iterator[Line]:
    count = measured.workflows

    def line(what: str, value: float, unit: str, budget: float | None = None) -> Line:
        return Line(name=f"{count} at once: {what}", value=value, unit=unit, budget=budget)

    launched, finished = measured.launched, measured.finished
    ended = count - measured.resumed_workflows
    yield line("requests for a workflow", measured.requests, "")  # at least 3: people see that it runs
    yield line("controller CPU for a task", measured.cost * 1e3, "ms")
    yield line("API server CPU for a task", measured.server_cost * 1e3, "ms")
    yield line("launched in a second", count / launched.seconds, "/s")
    yield line("finished in a second", ended / finished.seconds, "/s")
    yield line("memory with all running", measured.memory / 2**20, "MiB", 600)
    yield line("memory with all running, after a restart", measured.memory_after / 2**20, "MiB", 600)
    yield line("memory for a running workflow", (measured.memory - measured.empty) / count / 1024, "KiB")
    yield line("memory of a controller at its peak", measured.peak / 2**20, "MiB", 600)
    yield line(
        "controller CPU in a second while nothing happens", measured.idle.cpu / measured.idle.seconds * 1e3, "ms"
    )
    yield line("requests in a second while nothing happens", measured.idle.requests / measured.idle.seconds, "")
    yield line("status writes for a workflow", statuses.writes / count, "")
    yield line("bytes of statuses for a workflow", statuses.bytes / count, "B")
    for number, when in enumerate(("while they are launched", "after a restart")):
        yield line(f"health answers {when}, 99th percentile", measured.answered[number] * 1e3, "ms")
        yield line(f"loop late by over {LATE * 1e3:g} ms {when}", measured.late[number] * 100, "%", 1)
        yield line(f"longest lag of the loop, {when}", measured.longest[number] * 1e3, "ms")
    yield line(f"restart until {measured.resumed_workflows} that ended have", measured.resumed.seconds, "s", 20)
    yield line("restart until all are loaded and it is quiet", measured.loaded.seconds, "s")
    yield line("restart: controller CPU, all loaded", measured.loaded.cpu, "s")
    yield line("restart: requests for a running workflow", measured.loaded.requests / count, "")
    yield line("pods created a second time", measured.pods - count, "", 0)
