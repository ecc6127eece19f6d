"""A status that cannot be read: walked again if pods prove all of it, else left for who understands it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import msgspec
import pytest
import zstandard

from propeller.controller import WorkflowController
from propeller.controller._not_understood import UnknownStates
from propeller.errors import NotFound, NotUnderstood
from propeller.kube import Client, ObjectMeta
from propeller.telemetry import Metrics
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.flytes import names
from tests.unit.workflow.drive import task

CHAIN: Any = {"edges": [("a", "b"), ("b", "c")]}
NODES = (task("a"), task("b"), task("c"))


def newer() -> str:
    blob = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode([2, "a digest", {"new": True}]))
    return base64.b64encode(blob).decode()


def another_plan(nodes: str) -> str:
    content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(base64.b64decode(nodes)))
    content[1] = "0" * 32
    return base64.b64encode(zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(content))).decode()


def another_execution(nodes: str) -> str:
    content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(base64.b64decode(nodes)))
    content[-1] = "another"
    return base64.b64encode(zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(content))).decode()


MISSING = {"uri": "memory://m/gone.zst", "sha256": "0" * 64, "bytes": 7}

DAMAGE: dict[str, Any] = {
    "cut off": lambda nodes: {"nodes": nodes[: len(nodes) // 2]},
    "not base64": lambda nodes: {"nodes": "?" + nodes},
    "not ours": lambda nodes: {"nodes": "AAAA"},
    "of another plan": lambda nodes: {"nodes": another_plan(nodes)},
    "of another execution": lambda nodes: {"nodes": another_execution(nodes)},
    "away": lambda nodes: {"nodes": None, "nodesReference": MISSING},
}


async def half_done(of: Bench, *nodes: dict[str, Any]) -> str:
    """`a` has ended, `b` runs; returns the snapshot."""
    async with of.controller():
        await of.create(*(nodes or NODES), **CHAIN)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(5.0)
        await of.report("w-b-0", phase="Running")
        await asyncio.sleep(30.0)
    found: str = (await of.status())["nodes"]
    return found


async def write(of: Bench, status: dict[str, Any]) -> None:
    await of.user.patch(WORKFLOWS, "w", "ns", body={"status": status}, subresource="status")


async def finish(of: Bench, name: str) -> None:
    await of.report(name, phase="Succeeded")
    await asyncio.sleep(5.0)


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_plain_workflow_is_walked_again_and_runs_no_attempt_twice(kind: str) -> None:
    async with bench() as of:
        await write(of, DAMAGE[kind](await half_done(of)))
        async with of.controller():
            await asyncio.sleep(10.0)
            assert names(of.server) == ["w-a-0", "w-b-0"]
            await finish(of, "w-b-0")
            await finish(of, "w-c-0")
            assert (await of.status())["state"] == "Succeeded"
            assert names(of.server) == ["w-a-0", "w-b-0", "w-c-0"]


@pytest.mark.parametrize("kind", DAMAGE)
async def test_one_that_damages_while_it_runs_is_walked_again_too(kind: str) -> None:
    async with bench() as of, of.controller():
        await of.create(*NODES, **CHAIN)
        await asyncio.sleep(5.0)
        await finish(of, "w-a-0")
        await write(of, DAMAGE[kind]((await of.status())["nodes"]))
        await asyncio.sleep(5.0)
        await finish(of, "w-b-0")
        await finish(of, "w-c-0")
        assert (await of.status())["state"] == "Succeeded"
        assert names(of.server) == ["w-a-0", "w-b-0", "w-c-0"]


BY_PODS_UNPROVEN: dict[str, Any] = {
    "a time limit": ((task("a"), task("b", executionDeadline="3600s"), task("c")), {}),
    "a node that had failed": (NODES, {"counts": {"succeeded": 1, "failed": 1}}),
    "a failure": (NODES, {"error": {"code": "Boom"}}),
    "a failure node that runs": (NODES, {"phase": 7}),
    "a result whose pod is gone": (NODES, {"counts": {"succeeded": 2}}),
    "counts that are none": (NODES, {"counts": "many"}),
}


@pytest.mark.parametrize("kind", BY_PODS_UNPROVEN)
async def test_what_pods_do_not_prove_is_left_as_it_is_and_can_be_deleted(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    nodes, status = BY_PODS_UNPROVEN[kind]
    async with bench() as of:
        await half_done(of, *nodes)
        await write(of, {"nodes": "AAAA", **status})
        before = await of.user.get(WORKFLOWS, "w", "ns")
        async with of.controller():
            await asyncio.sleep(3600.0)
            assert await of.user.get(WORKFLOWS, "w", "ns") == before
            assert names(of.server) == ["w-a-0", "w-b-0"]
            assert sum("left as it is" in record.getMessage() for record in caplog.records) == 1
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(10.0)
            assert not names(of.server)


async def test_a_newer_versions_status_waits_unchanged_and_goes_on_when_it_is_understood() -> None:
    async with bench() as of:
        ours = await half_done(of)
        await write(of, {"nodes": newer()})
        before = await of.user.get(WORKFLOWS, "w", "ns")
        async with of.controller():
            await finish(of, "w-b-0")
            await asyncio.sleep(3600.0)
            assert await of.user.get(WORKFLOWS, "w", "ns") == before
            assert names(of.server) == ["w-a-0", "w-b-0"]
            await write(of, {"nodes": ours})
            await asyncio.sleep(10.0)
            await finish(of, "w-c-0")
            assert (await of.status())["state"] == "Succeeded"
            assert names(of.server) == ["w-a-0", "w-b-0", "w-c-0"]


async def test_one_of_a_newer_version_that_is_deleted_is_aborted_and_its_pods_are_stopped() -> None:
    async with bench() as of:
        await half_done(of)
        await of.user.patch(WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": ["example.org/audit"]}})
        await write(of, {"nodes": newer()})
        async with of.controller():
            await asyncio.sleep(60.0)
            await of.user.patch(
                WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": ["flyte.org/finalizer", "example.org/audit"]}}
            )
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(20.0)
            status = await of.status()
            assert (status["phase"], status["state"], status["nodes"]) == (6, "Aborted", newer())
            assert not await of.has_pod("w-b-0")
            metadata = (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]
            assert metadata["finalizers"] == ["example.org/audit"]


async def test_a_snapshot_that_comes_back_to_the_object_store_is_gone_on_from() -> None:
    """Nothing says so: it is looked at again after a while."""
    timed = (task("a"), task("b", executionDeadline="36000s"), task("c"))
    async with bench() as of:
        nodes = await half_done(of, *timed)
        blob = base64.b64decode(nodes)
        digest = hashlib.sha256(blob).hexdigest()
        uri = f"{(await of.status())['dataDir']}/status/{digest}.zst"
        reference = {"uri": uri, "sha256": digest, "bytes": len(blob)}
        await write(of, {"nodes": None, "nodesReference": reference})
        async with of.controller():
            await asyncio.sleep(100.0)
            await of.storage.write(uri, blob)
            await asyncio.sleep(1300.0)
            await finish(of, "w-b-0")
            await finish(of, "w-c-0")
            assert (await of.status())["state"] == "Succeeded"


async def test_a_metric_counts_those_that_wait() -> None:
    async with bench() as of:
        await half_done(of)
        await write(of, {"nodes": newer()})
        client, metrics = Client(of.server.transport(), clock=of.clock), Metrics()
        controller = WorkflowController(client, of.storage, of.settings, clock=of.clock, metrics=metrics)
        async with controller.running():
            await asyncio.sleep(1800.0)
            assert b'propeller_not_understood{controller="workflows"} 1.0' in metrics.text()
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(10.0)
            assert b'propeller_not_understood{controller="workflows"} 0.0' in metrics.text()
            with pytest.raises(NotFound):
                await of.user.get(WORKFLOWS, "w", "ns")


def test_one_that_waits_is_looked_at_ever_more_rarely_and_at_once_if_it_changes() -> None:
    waiting, before = UnknownStates(), ObjectMeta(uid="u", resource_version="1")
    error, now, pauses = NotUnderstood("why"), 0.0, []
    for _ in range(9):
        pauses.append(waiting.begin("ns/w", before, error, now))
        assert waiting.left("ns/w", before, now) == pauses[-1]
        now += pauses[-1]
        assert not waiting.left("ns/w", before, now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    waiting.begin("ns/w", before, error, now)
    assert not waiting.left("ns/w", msgspec.structs.replace(before, resource_version="2"), now)
