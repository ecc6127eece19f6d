"""Workflows of cached tasks, and who runs their pods."""

from __future__ import annotations

import asyncio
from typing import Any

from flyteidl.core import literals_pb2

from propeller.kube import Raw
from tests.unit.controller.bench import WORKFLOWS, Bench
from tests.unit.workflow.drive import TASK, graph, task

INTEGER = {"type": {"simple": "INTEGER"}}
INTERFACE = {"inputs": {"variables": {"x": INTEGER}}, "outputs": {"variables": {"o0": INTEGER}}}


def template(name: str = "t", *, serialize: bool = False, **metadata: Any) -> dict[str, Any]:
    """A task with an input `x` and an output `o0`, cached under version 1 unless `metadata` says otherwise."""
    cached = {"discoverable": True, "discoveryVersion": "1", "cacheSerializable": serialize, **metadata}
    identity = {"resourceType": "TASK", "project": "p", "domain": "d", "name": name, "version": "v1"}
    return TASK | {"id": identity, "interface": INTERFACE, "metadata": cached}


def integer(value: int) -> dict[str, Any]:
    return {"scalar": {"primitive": {"integer": str(value)}}}


def with_x(node_id: str, value: int | str, **fields: Any) -> dict[str, Any]:
    """A task node whose input is a number, or the output of another node."""
    bound = integer(value) if isinstance(value, int) else {"promise": {"nodeId": value, "var": "o0"}}
    return task(node_id, inputBindings=[{"var": "x", "binding": bound}], **fields)


def outputs(value: int) -> bytes:
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
    return literals_pb2.LiteralMap(literals={"o0": literal}).SerializeToString(deterministic=True)


def value_in(data: bytes) -> int:
    return int(literals_pb2.LiteralMap.FromString(data).literals["o0"].scalar.primitive.integer)


async def create(
    of: Bench, name: str, *nodes: Raw, tasks: Raw | None = None, config: Raw | None = None, **f: Any
) -> str:
    """Create an execution; returns its directory."""
    body = {
        "metadata": {"name": name},
        "spec": graph(*nodes, **f),
        "tasks": tasks or {"t": template()},
        "executionConfig": config or {},
    }
    uid = (await of.user.create(WORKFLOWS, body, "ns"))["metadata"]["uid"]
    await asyncio.sleep(1.0)
    return f"memory://m/{name}-{uid[:8]}"


async def end(of: Bench, pod: str, *, exit_code: int = 0) -> None:
    """The pod's container ends."""
    container = {"name": pod, "state": {"terminated": {"exitCode": exit_code, "reason": "Error"}}}
    await of.report(pod, phase="Failed" if exit_code else "Succeeded", containerStatuses=[container])
    await asyncio.sleep(2.0)


async def compute(of: Bench, directory: str, pod: str, node: str, value: int) -> None:
    """The pod writes its output and ends well."""
    await of.storage.write(f"{directory}/{node}/data/0/outputs.pb", outputs(value))
    await end(of, pod)


async def state(of: Bench, name: str) -> str:
    found: str = (await of.user.get(WORKFLOWS, name, "ns")).get("status", {}).get("state", "")
    return found


def lookups(of: Bench, outcome: str) -> float:
    return of.measured("propeller_cache_lookups_total", outcome=outcome)
