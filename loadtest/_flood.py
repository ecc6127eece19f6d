"""Three tenants of weight 1:2:4 flood one kube-apiserver with pods for a few slots, and a small tenant runs single pods
beside them: what each gets, how long the small one waits, and what it costs.

Who decides which pod begins is the `Queue`: propeller's controller, Kueue, or none (the floor).
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import click
import msgspec

from loadtest import _shares
from loadtest._floor import server_process
from loadtest._hollow_kubelet import HollowKubelet
from loadtest._process import cpu
from loadtest._shares import Span
from propeller.errors import Unavailable
from propeller.kube import NAMESPACES, Client, Request
from propeller.testing import KubeApiserver

WEIGHTS = {"one": 1.0, "two": 2.0, "four": 4.0}
SMALL = "small"
"""The tenant of the probes: pods of `PROBE_SECONDS`, one at a time, `PROBES_A_SECOND` on average."""

PROBE_SECONDS, PROBES_A_SECOND = 1.0, 2.0
STEP = 0.25  # seconds between two looks
STARTS = 60.0
"""Seconds within which the first pods have to begin: else it hangs."""

_REQUESTS = re.compile(rb"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_LABEL = re.compile(rb'(\w+)="([^"]*)"')

Requests = Counter[tuple[str, str]]
"""By resource (with its subresource) and verb."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`pods` of each tenant, which run for `seconds` in `slots`. Measured for `window` seconds once these are busy, or
    until the first tenant has no pod left that has not begun. If they run `together`, slots come free at once; then
    there are no probes.
    `complete`: measured from the flood's first request until all pods have ended, `window` seconds at most.
    """

    name: str
    pods: int
    slots: int
    seconds: float
    window: float
    together: bool = False
    complete: bool = False


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one run. Times are seconds since the flood began; `window` is what was measured."""

    run: Run
    spans: list[Span]
    window: tuple[float, float]
    waits: list[float]
    """Of the probes: from the answer to its create until the pod began."""
    unserved: list[float]
    """Of probes that had not begun when the run ended: how long they had waited."""
    created: int
    """Pods that were seen, of all tenants."""
    ended: int
    """Of these, those whose end was reported within the window."""
    rate: float
    """Pods whose end was reported in a second of the window."""
    held: float
    """Slots that were held, on average over the window."""
    requests: Requests
    """Within the window."""
    server_cpu: float
    """Seconds of kube-apiserver's CPU in the window."""
    own_cpu: float
    """Seconds of the queue's own CPU in the window."""

    @property
    def busy(self) -> dict[str, float]:
        return _shares.busy(self.spans, *self.window)

    @property
    def running(self) -> float:
        """Slots in which a pod really ran, on average over the window."""
        begin, end = self.window
        return sum(self.busy.values()) / max(end - begin, 1e-9)


class Queue(Protocol):
    """Decides which pods begin."""

    name: str

    def at_work(
        self, server: KubeApiserver, client: Client, directory: Path, run: Run
    ) -> AbstractAsyncContextManager[None]:
        """Install it, and have it ready to take a flood."""
        ...

    async def flood(self, client: Client, tenant: str, run: Run) -> None:
        """Submit the pods of one tenant; may take as long as the server needs."""
        ...

    async def probe(self, client: Client, number: int) -> str:
        """Submit one pod of the small tenant; returns its namespace and name once the server has it."""
        ...

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        ...

    async def held(self, client: Client) -> float:
        """Slots that are held now."""
        ...


async def flood(server: KubeApiserver, client: Client, directory: Path, queue: Queue, run: Run) -> Flood:
    """One run; namespaces of the tenants are made before it."""
    draw = random.Random(1)
    drawn = Counter[str]()

    def seconds(namespace: str) -> float:
        if namespace == SMALL:
            return PROBE_SECONDS
        drawn["all"] += 1
        early = not run.together and drawn["all"] <= run.slots
        return draw.uniform(0.0, run.seconds) if early else run.seconds  # as if they had run for long already

    for name in (*WEIGHTS, SMALL):
        await client.create(NAMESPACES, {"metadata": {"name": name}})
    kubelet = HollowKubelet(client, (*WEIGHTS, SMALL), seconds)
    async with kubelet.running(), queue.at_work(server, client, directory, run):
        return await _measured(server, client, queue, run, kubelet)


class _Look(msgspec.Struct, frozen=True):
    at: float
    requests: Requests
    server_cpu: float
    own_cpu: float


async def _look(server: KubeApiserver, client: Client, queue: Queue) -> _Look:
    return _Look(time.perf_counter(), await requests_so_far(client), cpu(server_process(server)), queue.cpu())


async def _measured(server: KubeApiserver, client: Client, queue: Queue, run: Run, kubelet: HollowKubelet) -> Flood:
    probes = _Probes(client, queue, kubelet)
    before = await _look(server, client, queue)
    origin, held = before.at, list[float]()
    beside = () if run.together else (probes.run,)  # whose slots would come free at other times
    async with _together(*(lambda name=name: queue.flood(client, name, run) for name in WEIGHTS), *beside):
        if not await _until(lambda: any(not key.startswith(SMALL) for key in kubelet.began), STARTS):
            raise Unavailable(f"{queue.name}: no pod has begun within {STARTS:g} s of the flood")
        if not run.complete:
            await _until(lambda: len(kubelet.began) >= run.slots, max(run.seconds, 5.0))
            await asyncio.sleep(run.seconds)  # who came first has got the first slots, which is no turn
            before = await _look(server, client, queue)
        is_over = _all_have_ended if run.complete else _runs_dry
        while time.perf_counter() < before.at + run.window and not is_over(kubelet, run):
            held.append(await queue.held(client))
            await asyncio.sleep(STEP)
        after = await _look(server, client, queue)
    took = after.at - before.at
    ended = sum(before.at <= at < after.at for at in kubelet.reported.values())
    waits, unserved = probes.waits(after.at)
    return Flood(
        run=run,
        spans=[Span(one.tenant, one.began - origin, one.ended - origin) for one in kubelet.all_spans()],
        window=(before.at - origin, after.at - origin),
        waits=waits,
        unserved=unserved,
        created=len(kubelet.appeared),
        ended=ended,
        rate=ended / took,
        held=sum(held) / max(1, len(held)),
        requests=after.requests - before.requests,
        server_cpu=after.server_cpu - before.server_cpu,
        own_cpu=after.own_cpu - before.own_cpu,
    )


def _runs_dry(kubelet: HollowKubelet, run: Run) -> bool:
    """Whether a tenant has no pod left to begin: from then on shares are not the queue's to decide."""
    begun = Counter(key.partition("/")[0] for key in kubelet.began)
    return any(begun[name] >= run.pods for name in WEIGHTS)


def _all_have_ended(kubelet: HollowKubelet, run: Run) -> bool:
    return sum(not key.startswith(SMALL) for key in kubelet.reported) >= run.pods * len(WEIGHTS)


class _Probes:
    """Single pods of the small tenant, at moments drawn from a seed."""

    def __init__(self, client: Client, queue: Queue, kubelet: HollowKubelet) -> None:
        self._client = client
        self._queue = queue
        self._kubelet = kubelet
        self._draw = random.Random(2)
        self._created: dict[str, float] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            number = 0
            while True:
                group.create_task(self._probe(number))
                number += 1
                await asyncio.sleep(self._draw.expovariate(PROBES_A_SECOND))

    async def _probe(self, number: int) -> None:
        key = await self._queue.probe(self._client, number)
        self._created[key] = time.perf_counter()

    def waits(self, now: float) -> tuple[list[float], list[float]]:
        """Seconds of those that have begun, and of those that still wait."""
        began = self._kubelet.began
        found = [max(0.0, began[key] - at) for key, at in self._created.items() if key in began]
        return found, [now - at for key, at in self._created.items() if key not in began]


@asynccontextmanager
async def _together(*jobs: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run jobs beside the block; those that are not done are cancelled with it, and their errors come out."""
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    try:
        yield
        for task in tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is so, up to so many seconds; returns whether it is."""
    until = time.perf_counter() + seconds
    while not (found := is_so()) and time.perf_counter() < until:
        await asyncio.sleep(0.02)
    return found


async def requests_so_far(client: Client) -> Requests:
    """What kube-apiserver has answered so far; watches count when they end."""
    answer = await client.transport.send(Request(method="GET", path="/metrics"), deadline=30)
    found: Requests = Counter()
    for match in _REQUESTS.finditer(answer.body):
        labels = {name.decode(): value.decode() for name, value in _LABEL.findall(match["labels"])}
        resource = "/".join(filter(None, (labels.get("resource", ""), labels.get("subresource", ""))))
        if resource:
            found[resource, labels.get("verb", "")] += round(float(match["count"]))
    return found


def say(text: str) -> None:
    """Progress, for who waits."""
    click.echo(f"  {text}", err=True)
