"""A controller under load on a real API server: requests, CPU and latency for each task, beside the bare client's.

The controller is `propeller controller`, or any other of this resource by its command line, as loadtest/flytepropeller
has FlytePropeller's. Pods are ended by a simulator.
"""

from __future__ import annotations

import asyncio
import random
import re
import shlex
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import uvloop

from loadtest import workflows
from loadtest._floor import BURST, Floor, Shape, floor_of, server_process
from loadtest._line import Line
from loadtest._process import cpu
from loadtest.completer import Completer
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.errors import AlreadyExists, Invalid
from propeller.informers import Change, Informer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Request, connect
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver

CONCURRENT_CREATES = 32
FAN_OUT, MAP = "fan-out of 500", "map of 500"
"""Scenarios of as many pods: those of nodes, and those of the items of one node."""
DEADLINE = 180.0  # seconds for one scenario: it hangs, or the machine is far too slow
_REQUESTS = re.compile(
    rb'^apiserver_request_total\{[^}]*resource="(?P<resource>[^"]*)"[^}]*subresource="(?P<sub>[^"]*)"[^}]*'
    rb'verb="(?P<verb>[^"]*)"[^}]*\} (?P<count>\S+)$',
    re.MULTILINE,
)


class Scenario(msgspec.Struct, frozen=True):
    """`count` executions of `template`, whose pods take `seconds`, and up to `spread` more."""

    name: str
    template: Any
    tasks: int
    count: int
    seconds: float = 0.0
    spread: float = 0.0

    @property
    def shape(self) -> Shape:
        """Of the floor that it is measured beside."""
        return Shape(self.tasks * self.count, self.spread) if self.spread else BURST


class Result(msgspec.Struct, frozen=True):
    """`requests` by the controller; CPU in seconds; `between` are seconds from node to node, sorted."""

    tasks: int
    count: int
    took: float
    requests: int
    own_cpu: float
    server_cpu: float
    memory: int
    between: list[float]


def scenarios(scale: float, only: Sequence[str]) -> list[Scenario]:
    """Those whose names begin with one of `only` (all, if there is none), their sizes multiplied by `scale`.

    Raises Invalid if that leaves none.
    """

    def scaled(number: int) -> int:
        return max(1, round(number * scale))

    found = [
        Scenario("one-pod workflows", workflows.parallel(1), 1, scaled(200)),
        Scenario("50 chains of 10", workflows.chain(10), 10, scaled(50)),
        Scenario("5 chains of 10, pods of 1 s", workflows.chain(10), 10, scaled(5), 1.0),
        Scenario("50 times 20 parallel", workflows.parallel(20), 20, scaled(50)),
        Scenario(FAN_OUT, workflows.parallel(scaled(500)), scaled(500), 1),
        Scenario(MAP, workflows.mapped(scaled(500)), scaled(500), 1),
        Scenario("50 times 20 parallel, ends spread over 20 s", workflows.parallel(20), 20, scaled(50), spread=20.0),
        Scenario("fan-out of 500, ends spread over 20 s", workflows.parallel(scaled(500)), scaled(500), 1, spread=20.0),
    ]
    chosen = [scenario for scenario in found if not only or scenario.name.startswith(tuple(only))]
    if not chosen:
        names = ", ".join(repr(scenario.name) for scenario in found)
        raise Invalid(f"no scenario begins with {' or '.join(map(repr, only))}; there are {names}")
    return chosen


def measure(*, scale: float = 1.0, only: Sequence[str] = (), controller: str, crd: str) -> Iterator[Line]:
    chosen = scenarios(scale, only)
    with workplace() as directory, run_kube_apiserver(directory) as server:
        yield from uvloop.run(_measure(server, directory, chosen, controller, flyte=crd == "flyte"))


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory in memory if possible, as the disk's file system is not to be measured."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        yield Path(directory)


async def _measure(
    server: KubeApiserver, directory: Path, chosen: Sequence[Scenario], controller: str, *, flyte: bool
) -> list[Line]:
    lines: list[Line] = []
    spent: dict[str, float] = {}  # seconds of CPU for a task, by scenario
    async with connect(server.connection()) as client:
        await install(client, flyte=flyte)
        before: dict[Shape, Floor] = {}  # one floor after a scenario is the one before the next of its shape
        for number, scenario in enumerate(chosen):
            shape = scenario.shape
            if shape not in before:
                before = {shape: await floor_of(server, client, directory, f"before{number}", shape=shape)}
            result = await run(server, client, directory / f"s{number}", scenario, f"load{number}", controller)
            after = await floor_of(server, client, directory, f"after{number}", shape=shape)
            lines.extend(_lines(scenario, result, [before[shape], after]))
            spent[scenario.name] = result.own_cpu / result.tasks
            if scenario.name == MAP and FAN_OUT in spent:
                name = f"{MAP}: controller CPU for an item, relative to a node of the {FAN_OUT}"
                lines.append(Line(name=name, value=spent[MAP] / spent[FAN_OUT], unit="x", budget=1.2))
            before = {shape: after}
    return lines


async def install(client: Client, *, flyte: bool) -> None:
    """The resource type, ours or Flyte's own, which has no status subresource."""
    crd = workflow_crd()
    if flyte:
        for version in crd["spec"]["versions"]:
            del version["subresources"]
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
    await eventually(lambda: client.list(FLYTE_WORKFLOWS))


def _lines(scenario: Scenario, result: Result, floors: Sequence[Floor]) -> Iterator[Line]:
    """`floors` were measured before and after it: the machine's speed changes from minute to minute."""
    tasks = result.tasks
    floor = sum(floor.client for floor in floors) / len(floors)
    floor_server = sum(floor.server for floor in floors) / len(floors)
    one_pod = scenario.tasks == 1
    budget = 2.2 if one_pod else 1.3 if scenario.tasks >= 100 else None
    yield Line(name=f"{scenario.name}: requests for a task", value=result.requests / tasks, unit="", budget=budget)
    yield Line(name=f"{scenario.name}: controller CPU for a task", value=result.own_cpu / tasks * 1e3, unit="ms")
    yield Line(
        name=f"{scenario.name}: that, relative to the floor of {floor * 1e3:.2f} ms",
        value=result.own_cpu / tasks / floor,
        unit="x",
        budget=2,
    )
    yield Line(name=f"{scenario.name}: API server CPU for a task", value=result.server_cpu / tasks * 1e3, unit="ms")
    yield Line(name=f"{scenario.name}: of these a bare pod takes", value=floor_server * 1e3, unit="ms")
    yield Line(name=f"{scenario.name}: tasks in a second", value=tasks / result.took, unit="/s")
    yield Line(name=f"{scenario.name}: memory of the controller", value=result.memory / 2**20, unit="MiB")
    if result.between:
        middle = result.between[len(result.between) // 2]
        last = result.between[int(len(result.between) * 0.99)]
        yield Line(name=f"{scenario.name}: node to node, median", value=middle * 1e3, unit="ms")
        yield Line(name=f"{scenario.name}: node to node, 99th percentile", value=last * 1e3, unit="ms")


async def run(
    server: KubeApiserver, client: Client, directory: Path, scenario: Scenario, namespace: str, command: str
) -> Result:
    """One scenario in a namespace of its own, by the controller of that command line."""
    with suppress(AlreadyExists):
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})
    resources = [_identified(resource) for resource in workflows.resources(scenario.template, scenario.count, "w")]
    draw = random.Random(1)
    completer = Completer(client, namespace, lambda: scenario.seconds + draw.uniform(0.0, scenario.spread))
    async with (
        completer.running(),
        _ended(client, namespace, scenario.count) as ended,
        _controller(server, directory, command) as controller,
    ):
        before = await requests_so_far(client), cpu(controller), cpu(server_process(server))
        began = time.perf_counter()
        left = iter(resources)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_CREATES):
                group.create_task(create(client, left, namespace))
        await asyncio.wait_for(ended, DEADLINE)
        took = time.perf_counter() - began
        own, theirs = cpu(controller) - before[1], cpu(server_process(server)) - before[2]
        memory = controller.memory_info().rss
        requests = await requests_so_far(client) - before[0]
    between = completer.node_to_node() if scenario.name.count("chain") else []
    return Result(scenario.tasks * scenario.count, scenario.count, took, requests, own, theirs, memory, between)


def _identified(resource: dict[str, Any]) -> dict[str, Any]:
    """With the identity that FlyteAdmin sets after the compiler: FlytePropeller's events are of it."""
    labels = resource["metadata"]["labels"]
    identity = {"project": labels["project"], "domain": labels["domain"], "name": labels["execution-id"]}
    return resource | {"executionId": identity}


async def create(client: Client, left: Iterator[dict[str, Any]], namespace: str) -> None:
    for resource in left:  # one iterator for all
        metadata = resource["metadata"] | {"namespace": namespace}
        await client.create(FLYTE_WORKFLOWS, resource | {"metadata": metadata}, namespace)


@asynccontextmanager
async def _ended(client: Client, namespace: str, count: int) -> AsyncIterator[asyncio.Future[None]]:
    """Done when that many workflows have ended well, or one has not."""
    done: set[str] = set()
    ended = asyncio.get_running_loop().create_future()

    def seen(change: Change[dict[str, Any]]) -> None:
        if change.new is None or ended.done():
            return
        phase = change.new.get("status", {}).get("phase")
        if phase in {5, 6}:
            ended.set_exception(AssertionError(f"{change.key} failed: {change.new['status'].get('error')}"))
            return
        if phase == 3:
            done.add(change.key)
        if len(done) == count:
            ended.set_result(None)

    async with Informer(client, FLYTE_WORKFLOWS, namespace=namespace) as informer:
        await informer.wait_for_sync(30)
        informer.subscribe(seen)
        yield ended


@asynccontextmanager
async def _controller(server: KubeApiserver, directory: Path, template: str) -> AsyncIterator[psutil.Process]:
    """The controller, ready."""
    directory.mkdir()
    kubeconfig = server.kubeconfig(directory / "kubeconfig")
    command = template.format(kubeconfig=kubeconfig, port=0, directory=directory)
    process = await asyncio.create_subprocess_exec(*shlex.split(command))
    try:
        await asyncio.sleep(3)  # whichever it is, it says in a way of its own when its caches are filled
        assert process.returncode is None, f"the controller has ended, with {process.returncode}"
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def requests_so_far(client: Client, *, starting: bool = False) -> int:
    """Requests that only a controller sends: creates and deletes of pods, writes of workflows but their creates; those
    as well with `starting`, for workflows that start others.
    """
    answer = await client.transport.send(Request(method="GET", path="/metrics"), deadline=30)
    verbs = {b"PUT", b"PATCH", b"APPLY", b"DELETE", b"GET"} | ({b"POST"} if starting else set())
    total = 0.0
    for found in _REQUESTS.finditer(answer.body):
        resource, sub, verb = found["resource"], found["sub"], found["verb"]
        pods = resource == b"pods" and not sub and verb in {b"POST", b"DELETE", b"GET"}
        written = resource == b"flyteworkflows" and verb in verbs
        if pods or written:
            total += float(found["count"])
    return round(total)
