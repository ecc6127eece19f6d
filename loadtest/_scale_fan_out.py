"""One workflow whose nodes all run at once: as written, or as the items of a map task."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadtest import workflows
from loadtest._line import Line
from loadtest._process import LATE, ControllerProcess, Lags
from loadtest._scale_target import NAMESPACE, Target, in_namespace
from loadtest._statuses import Statuses
from loadtest._warmed import warmed
from propeller.controller import FLYTE_WORKFLOWS

DEADLINE, FOR_A_NODE = 900.0, 0.03  # seconds: it hangs, or the machine is far too slow
FEW = 1_000
"""Nodes: of smaller workflows more than one runs, or there would be too little to measure."""
LARGE = 500
"""Nodes from which on a workflow is large enough for the budget of large ones."""
MAX_INLINE = 2_000
"""Nodes: the closure of a larger one is offloaded, as by FlyteAdmin. 50,000 would be 12 MB, and etcd takes 1.5."""


class Spent(msgspec.Struct, frozen=True):
    """From the creation to the last end."""

    seconds: float
    cpu: float
    server_cpu: float
    requests: int
    memory: int
    """Bytes by which the controller's memory has grown at its peak over that of an idle one."""


async def fan_out(target: Target, command: str, nodes: int) -> tuple[float, list[Line]]:
    """The controller's CPU for a node, in seconds, and the table."""
    count = max(1, FEW // nodes)
    return await _measured(target, command, f"fan-out of {nodes}", nodes, _resources(target.directory, nodes, count))


async def map_over(target: Target, command: str, items: int, concurrency: int = 0) -> tuple[float, list[Line]]:
    """The controller's CPU for an item of a map task, in seconds, and the table. `concurrency` 0: all at once."""
    name = f"map of {items}" + (f", {concurrency} at once" if concurrency else "")
    return await _measured(target, command, name, items, [_mapping(target.directory, items, concurrency)])


async def _measured(
    target: Target, command: str, name: str, nodes: int, given: Iterable[dict[str, Any]]
) -> tuple[float, list[Line]]:
    """Run workflows of `nodes` pods each; returns the controller's CPU for a pod, and the table."""
    resources = list(given)
    count = len(resources)
    async with warmed(target, command) as of:
        controller = of.controller
        lags_before = await controller.lags()
        before = time.perf_counter(), controller.cpu, target.cpu, await target.requests(of.client)
        for resource in resources:
            await of.client.create(FLYTE_WORKFLOWS, resource, NAMESPACE)
        await of.statuses.wait_ended(count, DEADLINE + nodes * FOR_A_NODE)
        spent = Spent(
            time.perf_counter() - before[0],
            controller.cpu - before[1],
            target.cpu - before[2],
            await target.requests(of.client) - before[3],
            controller.taken.peak - of.idle,
        )
        lags = (await controller.lags()).since(lags_before)
    total = nodes * count
    most = of.completer.most_at_once()
    assert len(of.completer.uids) == total, f"{len(of.completer.uids)} pods for {total} nodes"
    return spent.cpu / total, list(_lines(target, name, nodes, total, spent, of.statuses, controller, lags, most))


def _resources(directory: Path, nodes: int, count: int) -> Iterator[dict[str, Any]]:
    template = workflows.parallel(nodes)
    offloaded = ""
    if nodes > MAX_INLINE:
        offloaded = workflows.offload(template, directory, "closure")
    for resource in workflows.resources(template, count, "w"):
        whole = in_namespace(resource)
        if offloaded:
            static = {"spec", "tasks", "subWorkflows"}
            whole = {key: value for key, value in whole.items() if key not in static}
            whole["workflowClosureReference"] = offloaded
        yield whole


def _mapping(directory: Path, items: int, concurrency: int) -> dict[str, Any]:
    """A map task over a list that the execution was given; its inputs are offloaded, as by FlyteAdmin."""
    (resource,) = workflows.resources(workflows.mapping(concurrency), 1, "m", inputs=workflows.numbers(items))
    del resource["inputs"]
    return in_namespace(resource) | {"offloadedInputs": workflows.offload_inputs(items, directory)}


def _lines(
    target: Target,
    name: str,
    nodes: int,
    total: int,
    spent: Spent,
    statuses: Statuses,
    controller: ControllerProcess,
    lags: Lags,
    most: int,
) -> Iterator[Line]:
    def line(what: str, value: float, unit: str, budget: float | None = None) -> Line:
        return Line(name=f"{target.name}{name}: {what}", value=value, unit=unit, budget=budget)

    if target.counts_requests:
        yield line("requests for a node", spent.requests / total, "", 1.3 if nodes >= LARGE else None)
    yield line("controller CPU for a node", spent.cpu / total * 1e3, "ms")
    yield line("API server CPU for a node", spent.server_cpu / total * 1e3, "ms")
    yield line("nodes in a second", total / spent.seconds, "/s")
    yield line("pods at the same time, at most", most, "")
    yield line("memory of the controller at its peak", controller.taken.peak / 2**20, "MiB")
    yield line("that, over an idle one", spent.memory / 2**20, "MiB")
    yield line("status writes", statuses.writes, "")
    yield line("bytes of statuses for a node", statuses.bytes / total, "B")
    yield line("bytes of offloaded statuses for a node", statuses.offloaded / total, "B")
    yield line("largest status", statuses.largest / 1024, "KiB", 260)  # the snapshot's 256, and a head
    yield line("health answers, 99th percentile", controller.taken.answered(0.99) * 1e3, "ms")
    yield line(f"loop late by over {LATE * 1e3:g} ms", lags.beyond(LATE) * 100, "%", 1)
    yield line("longest lag of the loop", lags.longest * 1e3, "ms")
