"""Tasks that an operator runs: the controller creates their resources, waits, retries and cleans up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.config import OperatorOptions
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.handlers.operator_tasks import CONTAINER, resource_of
from tests.unit.workflow.drive import TASK, graph, task

JOBS = resource_of("pytorch")
CUSTOM = {"workerReplicas": {"replicas": 2}, "masterReplicas": {"replicas": 1}}
TRAINS = TASK | {"type": "pytorch", "taskTypeVersion": 1, "container": CONTAINER, "custom": CUSTOM}


async def install(of: Bench) -> None:
    """The type, which keeps whatever it is given."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": schema}
    names = {"kind": JOBS.kind, "plural": JOBS.plural, "singular": "pytorchjob"}
    spec = {"group": JOBS.group, "scope": "Namespaced", "names": names, "versions": [version]}
    await of.user.create(
        CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": f"{JOBS.plural}.{JOBS.group}"}, "spec": spec}
    )


def enabled(plain: Bench) -> Bench:
    settings = msgspec.structs.replace(plain.settings, operators=OperatorOptions(enabled=("pytorch",)))
    return Bench(plain.user, plain.clock, plain.server, plain.storage, settings)


@asynccontextmanager
async def operated() -> AsyncIterator[Bench]:
    """A bench whose server and controllers have the operator's type."""
    async with bench() as plain:
        of = enabled(plain)
        await install(of)
        yield of


async def create(of: Bench, **fields: Any) -> None:
    node = task("n0", task="trains", **fields)
    body = {"metadata": {"name": "w"}, "spec": graph(node), "tasks": {"trains": TRAINS}}
    await of.user.create(WORKFLOWS, body, "ns")
    await asyncio.sleep(1.0)


async def report(of: Bench, name: str, type_: str, **fields: Any) -> None:
    """What the operator would say."""
    condition = {"type": type_, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", **fields}
    await of.user.patch(JOBS, name, "ns", body={"status": {"conditions": [condition]}}, subresource="status")
    await asyncio.sleep(5.0)


async def jobs(of: Bench) -> list[str]:
    return sorted(one["metadata"]["name"] for one in (await of.user.list(JOBS, "ns")).items)


async def test_a_training_task_runs_as_a_job_of_its_operator() -> None:
    async with operated() as of, of.controller():
        await create(of)
        assert await jobs(of) == ["w-n0-0"]
        assert await of.pods() == {}
        await report(of, "w-n0-0", "Suspended")
        assert (await of.status())["phase"] == 1
        await report(of, "w-n0-0", "Running")
        await report(of, "w-n0-0", "Succeeded")
        assert (await of.status())["phase"] == 3


async def test_a_job_that_fails_is_tried_again_and_its_reason_is_the_tasks() -> None:
    async with operated() as of, of.controller():
        await create(of, retry={"minAttempts": 2})
        await report(of, "w-n0-0", "Failed", reason="Why", message="first")
        assert await jobs(of) == ["w-n0-0", "w-n0-1"]
        await report(of, "w-n0-1", "Failed", reason="Why", message="second")
        status = await of.status()
        assert status["phase"] == 5
        assert "the job failed: Why - second" in json.dumps(status)


async def test_a_job_is_deleted_if_its_workflow_is_aborted() -> None:
    async with operated() as of, of.controller():
        await create(of)
        await report(of, "w-n0-0", "Running")
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(5.0)
        assert await jobs(of) == []


async def test_a_type_that_is_not_installed_is_named_and_waited_for() -> None:
    async with bench() as plain:
        of = enabled(plain)
        async with of.controller():
            await create(of)
            await asyncio.sleep(30.0)
            assert "pytorchjobs" in json.dumps(await of.status())
            await install(of)
            await asyncio.sleep(120.0)
            assert await jobs(of) == ["w-n0-0"]
