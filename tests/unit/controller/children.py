"""Workflows whose nodes start launch plans, which their resources carry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from flyteidl.core import literals_pb2

from propeller.errors import NotFound
from propeller.kube import Raw
from propeller.workflow import entity_path
from tests.unit.controller.bench import WORKFLOWS, Bench
from tests.unit.workflow.drive import TASK, graph, task

GIVES = TASK | {"id": {"name": "gives"}, "interface": {"outputs": {"variables": {"o0": {"type": {}}}}}}
TASKS = {"t": TASK, "gives": GIVES}

OUTPUTS = literals_pb2.LiteralMap(
    literals={"o0": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7)))}
).SerializeToString()

INTEGER = {"scalar": {"primitive": {"integer": "1"}}}


def path(name: str) -> str:
    return entity_path("p", "d", name, "v1")


def call(node_id: str, plan: str = "plan", **fields: Any) -> Raw:
    """A node that starts a launch plan."""
    reference = {"project": "p", "domain": "d", "name": plan, "version": "v1"}
    return {"id": node_id, "kind": "workflow", "workflow": {"launchPlanRefId": reference}, **fields}


def launch_plan(
    *nodes: Raw,
    name: str = "plan",
    outputs: tuple[str, ...] = (),
    inputs: Mapping[str, Raw] | None = None,
    spec: Raw | None = None,
    **fields: Any,
) -> Raw:
    """A launch plan's document; by default its workflow is one task `a`. `inputs` are its parameters."""
    return {
        "launchPlan": {
            "id": {"project": "p", "domain": "d", "name": name, "version": "v1"},
            "spec": {"workflowId": {"name": f"workflow-of-{name}"}, **(spec or {})},
            "closure": {
                "expectedInputs": {"parameters": dict(inputs or {})},
                "expectedOutputs": {"variables": {output: {"type": {}} for output in outputs}},
            },
        },
        "spec": graph(*(nodes or (task("a"),)), **fields),
        "tasks": TASKS,
    }


def resource(*nodes: Raw, name: str = "w", plans: Mapping[str, Raw] | None = None, **fields: Any) -> Raw:
    """A workflow of these nodes, by default one that starts `plan`. It carries `plans`, by name."""
    metadata = {"name": name, **fields.pop("metadata", {})}
    more: Raw = {key: fields.pop(key) for key in ("executionConfig", "executionId") if key in fields}
    carried = {"plan": launch_plan()} if plans is None else plans
    return {
        "metadata": metadata,
        "spec": graph(*(nodes or (call("n0"),)), **fields),
        "tasks": TASKS,
        "launchPlans": {path(plan): document for plan, document in carried.items()},
        **more,
    }


async def create(of: Bench, *nodes: Raw, **fields: Any) -> Raw:
    created = await of.user.create(WORKFLOWS, resource(*nodes, **fields), "ns")
    await asyncio.sleep(1.0)
    return created


async def workflow(of: Bench, name: str) -> Raw:
    return await of.user.get(WORKFLOWS, name, "ns")


async def status(of: Bench, name: str) -> Raw:
    found: Raw = (await workflow(of, name)).get("status", {})
    return found


async def exists(of: Bench, name: str) -> bool:
    try:
        await workflow(of, name)
    except NotFound:
        return False
    return True


async def inputs_of(of: Bench, name: str) -> dict[str, literals_pb2.Literal]:
    data = await of.storage.read((await workflow(of, name))["offloadedInputs"])
    return dict(literals_pb2.LiteralMap.FromString(data).literals)


async def end(of: Bench, pod: str, phase: str = "Succeeded", reason: str = "Error") -> None:
    """A pod ends, and the executions have the time to take note."""
    await asyncio.sleep(1.0)
    terminated = {"exitCode": 0 if phase == "Succeeded" else 1, "reason": reason}
    await of.report(pod, phase=phase, containerStatuses=[{"name": pod, "state": {"terminated": terminated}}])
    await asyncio.sleep(2.0)
