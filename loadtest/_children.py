"""Executions that another one starts: what each costs beside a workflow by itself, with a shared closure and with one
of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson
import uvloop

from loadtest import workflows
from loadtest._line import Line
from loadtest._scale_target import NAMESPACE, Target, in_namespace, target_of
from loadtest._warmed import warmed
from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import Client

CHILDREN = 2_000
CLOSURE = 20_000
"""Bytes of the workflow that each of them runs."""

DEADLINE, FOR_ONE = 120.0, 0.2  # seconds: it hangs, or the machine is far too slow

DEARER = 2.0
"""How much more one may cost than a workflow by itself: another one starts it, follows it and takes its outputs."""

_NEVER_SHARED = "env PROPELLER_CONTROLLER__CHILD_CLOSURE_BYTES=1000000000"


class Cost(msgspec.Struct, frozen=True):
    """Of one workflow, in seconds and bytes; without those that start others, but for what these spend on it."""

    cpu: float
    server_cpu: float
    requests: float | None
    """None if the server does not count them."""
    stored: float
    """Bytes of the resource when it has ended."""
    memory: float
    """Bytes of the controller at its peak, over an idle one."""
    seconds: float


def measure(*, scale: float, server: str, controller: str) -> Iterator[Line]:
    """`server` is embedded or real. Sizes are multiplied by `scale`."""
    count = max(1, round(CHILDREN * scale))
    alone = workflows.resources(workflows.parallel(1), count, "w")
    starter = [workflows.mapping_executions(count, "m", CLOSURE)]
    plain = _on(server, controller, alone, count)
    yield from _lines(f"{count} workflows by themselves", plain)
    shared = _on(server, controller, starter, count)
    yield from _lines(f"{count} that one starts", shared)
    yield _relative(f"{count} that one starts", shared, plain, DEARER)
    whole = _on(server, f"{_NEVER_SHARED} {controller}", starter, count)
    yield from _lines(f"{count} that carry their closure", whole)
    yield _relative(f"{count} that carry their closure", whole, plain)


def _relative(name: str, cost: Cost, plain: Cost, budget: float | None = None) -> Line:
    return Line(name=f"{name}: controller CPU, relative", value=cost.cpu / plain.cpu, unit="x", budget=budget)


def _lines(name: str, cost: Cost) -> Iterator[Line]:
    yield Line(name=f"{name}: controller CPU for one", value=cost.cpu * 1e3, unit="ms")
    yield Line(name=f"{name}: API server CPU for one", value=cost.server_cpu * 1e3, unit="ms")
    if cost.requests is not None:
        yield Line(name=f"{name}: requests for one", value=cost.requests, unit="")
    yield Line(name=f"{name}: bytes in etcd for one", value=cost.stored, unit="B")
    yield Line(name=f"{name}: memory for one, at its peak", value=cost.memory / 1024, unit="KiB")
    yield Line(name=f"{name}: in a second", value=1 / cost.seconds, unit="/s")


def _on(server: str, command: str, resources: Sequence[dict[str, Any]], count: int) -> Cost:
    with target_of(server) as target:
        return uvloop.run(_run(target, command, resources, count))


async def _run(target: Target, command: str, resources: Sequence[dict[str, Any]], count: int) -> Cost:
    """Create the resources, of which `count` pods come, and wait until all executions have ended."""
    created = len(resources)
    async with warmed(target, command) as of:
        requests = await target.requests(of.client, starting=True)
        before = time.perf_counter(), of.controller.cpu, target.cpu
        for resource in resources:
            await of.client.create(FLYTE_WORKFLOWS, in_namespace(resource), NAMESPACE)
        executions = count if created == count else created + count
        await of.statuses.wait_ended(executions, DEADLINE + count * FOR_ONE)
        after = time.perf_counter(), of.controller.cpu, target.cpu
        requests = await target.requests(of.client, starting=True) - requests - created
        peak = of.controller.taken.peak
        assert len(of.completer.uids) == count, f"{len(of.completer.uids)} pods for {count} executions"
        stored = await _stored(of.client)
    seconds, cpu, server_cpu = (one - other for one, other in zip(after, before, strict=True))
    sent = requests / count if target.counts_requests else None
    return Cost(cpu / count, server_cpu / count, sent, stored, (peak - of.idle) / count, seconds / count)


async def _stored(client: Client) -> float:
    """The median of the bytes of a resource, which etcd has as JSON."""
    sizes = []
    async for page in client.pages(FLYTE_WORKFLOWS.typed(dict[str, Any]), NAMESPACE):
        sizes += [len(orjson.dumps(one)) for one in page.items]
    return float(sorted(sizes)[len(sizes) // 2])
