"""Writing a status onto what it was computed from."""

from __future__ import annotations

import random
from typing import Any

import pytest
from flyteidl.core import literals_pb2

from propeller.clock import LoopClock
from propeller.config import CheckpointOptions
from propeller.controller import workflow_crd
from propeller.controller._checkpointer import Checkpointer, ExternalModification
from propeller.controller._resource import WORKFLOWS, fingerprint_of
from propeller.embedded.server import ApiServer
from propeller.embedded.server.rest._writes import MAX_OBJECT_BYTES
from propeller.handlers import TRANSITIONS
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from propeller.status import decode_status
from propeller.storage import MemoryStore, Storage
from propeller.workflow import Execution, ExecutionInfo, Failure, WorkflowPhase, begin
from tests.unit.workflow import drive


async def test_a_foreign_status_is_noticed_where_both_snapshots_are_in_the_object_store() -> None:
    clock = LoopClock()
    everything_offloaded = CheckpointOptions(budget=1)
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(stores={"memory": MemoryStore()}) as storage,
    ):
        client = Client(server.transport(), clock=clock)
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        root = drive.graph(drive.task("a"))
        created = await client.create(WORKFLOWS.typed(Raw), {"metadata": {"name": "e"}, "spec": root}, "ns")
        uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
        mine, theirs = (_execution(root, uid) for _ in range(2))
        theirs.phase = WorkflowPhase.FAILED
        checkpointer = Checkpointer(client, storage, everything_offloaded, clock, subresource=True)
        await checkpointer.write(theirs, version, fingerprint_of({}))
        with pytest.raises(ExternalModification):
            await checkpointer.write(mine, version, fingerprint_of({}))
        assert (await client.get(WORKFLOWS, "e", "ns")).phase is WorkflowPhase.FAILED


async def test_an_end_that_the_server_dropped_but_for_its_label_is_written_again() -> None:
    """Regression: the label moved the version, and pods were stopped though no status had the reason."""
    clock = LoopClock()
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(stores={"memory": MemoryStore()}) as storage,
    ):
        client, created = await _created(server, clock, almost_too_large=False)
        metadata = created["metadata"]
        execution = _execution(drive.graph(drive.task("a")), metadata["uid"])
        execution.phase = WorkflowPhase.SUCCEEDED
        checkpointer = Checkpointer(client, storage, CheckpointOptions(), clock, subresource=False)  # as it was
        version, generation = metadata["resourceVersion"], metadata["generation"]
        written = await checkpointer.write(execution, version, fingerprint_of({}), (), generation)
        found = await client.get(WORKFLOWS, "e", "ns")
        assert found.phase is WorkflowPhase.SUCCEEDED
        assert found.metadata.resource_version == written.metadata.resource_version


async def test_a_status_that_the_server_has_no_room_for_is_shortened_and_offloaded() -> None:
    clock = LoopClock()
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(stores={"memory": MemoryStore()}) as storage,
    ):
        client, created = await _created(server, clock, almost_too_large=True)
        uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
        execution = _execution(drive.graph(drive.task("a")), uid)
        execution.phase = WorkflowPhase.FAILED
        execution.failure = Failure("E", "begin " + "".join(random.Random(1).choices("abcdefgh", k=20_000)))
        checkpointer = Checkpointer(client, storage, CheckpointOptions(), clock, subresource=True)
        await checkpointer.write(execution, version, fingerprint_of({}))
        status = (await client.get(WORKFLOWS, "e", "ns")).status
        assert status["message"].startswith("begin ")
        assert len(status["message"]) <= 256
        snapshot = await decode_status(status, storage, execution.info.directory)
        assert snapshot is not None
        assert snapshot.failure == execution.failure


async def test_a_rejection_that_the_server_has_no_room_for_is_shortened() -> None:
    clock = LoopClock()
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(stores={"memory": MemoryStore()}) as storage,
    ):
        client, created = await _created(server, clock, almost_too_large=True)
        workflow = await client.get(WORKFLOWS, "e", "ns")
        checkpointer = Checkpointer(client, storage, CheckpointOptions(), clock, subresource=True)
        await checkpointer.reject(
            workflow, Failure("BadWorkflow", "x" * 20_000), created["metadata"]["resourceVersion"]
        )
        status = (await client.get(WORKFLOWS, "e", "ns")).status
        assert status["phase"] == WorkflowPhase.FAILED
        assert 0 < len(status["message"]) <= 256


async def _created(server: ApiServer, clock: LoopClock, *, almost_too_large: bool) -> tuple[Client, Raw]:
    """A workflow `ns/e`; one that is almost too large leaves 2 KiB until the server refuses its object."""
    client = Client(server.transport(), clock=clock)
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
    resource: Raw = {"metadata": {"name": "e"}, "spec": drive.graph(drive.task("a"))}
    if almost_too_large:
        resource["inputs"] = {"padding": "x" * (MAX_OBJECT_BYTES - 2_048 - len(str(resource)))}
    return client, await client.create(WORKFLOWS.typed(Raw), resource, "ns")


def _execution(root: dict[str, object], uid: str) -> Execution:
    plan = drive.plan(root)
    info = ExecutionInfo(name="e", namespace="ns", uid=uid, directory="memory://m/e", inputs=literals_pb2.LiteralMap())
    execution = Execution(info, plan, now=1000.0)
    begin(execution, TRANSITIONS, 1000.0)
    return execution


@pytest.mark.parametrize("depth", [200, 300, 900, 9_000])
def test_a_status_of_flytes_is_told_from_another_however_deep_it_is(depth: int) -> None:
    status: dict[str, Any] = {}
    for _ in range(depth):
        status = {"nodeStatus": status}
    assert fingerprint_of({"nodeStatus": status}) != fingerprint_of({}) != fingerprint_of({"phase": 1})
