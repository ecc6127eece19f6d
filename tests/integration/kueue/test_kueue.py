"""The controller beside the real Kueue on a real API server: pods wait in its queue, are admitted, evicted, requeued.

There is no scheduler and no kubelet: the test does what they would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest._kueue import WORKLOADS, Kueue, create_queues, running_kueue
from propeller.config import CheckpointOptions, KueueOptions, KueueQueue, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.errors import Conflict, NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, Raw, Resource, connect
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import KubeApiserver, eventually, find, run_kube_apiserver
from tests.unit.workflow.drive import TASK, graph, task

QUEUE = "team"
"""A LocalQueue, its namespace, and the project."""

POD_LIST = PODS.typed(Raw)
FLOWS = FLYTE_WORKFLOWS.typed(Raw)
BINDINGS: Resource[Raw] = Resource(kind="Binding", plural="bindings", type=dict[str, Any])
SETTINGS = Settings(
    checkpoint=CheckpointOptions(max_lag=0.2),
    storage=StorageOptions(metadata_prefix="memory://m"),
    kueue=KueueOptions(queues=(KueueQueue(project=QUEUE, queue=QUEUE),)),
)
ONE_CPU = {**TASK, "container": {"image": "i", "resources": {"requests": [{"name": "CPU", "value": "1"}]}}}


class Bench:
    """A user, a scheduler and a kubelet, in one namespace."""

    def __init__(self, client: Client, server: KubeApiserver, kueue: Kueue) -> None:
        self.client = client
        self.server = server
        self.kueue = kueue

    async def create(self, name: str, *nodes: str) -> None:
        metadata = {"name": name, "labels": {"project": QUEUE, "domain": "production"}}
        spec = graph(*map(task, nodes))
        await self.client.create(FLOWS, {"metadata": metadata, "spec": spec, "tasks": {"t": ONE_CPU}}, QUEUE)

    async def status(self, name: str) -> Raw:
        found: Raw = (await self.client.get(FLOWS, name, QUEUE)).get("status", {})
        return found

    async def pods(self) -> dict[str, Raw]:
        return {pod["metadata"]["name"]: pod for pod in (await self.client.list(POD_LIST, QUEUE)).items}

    async def admitted(self) -> str:
        """The name of the one pod that is admitted and has not ended; waits for it."""

        async def find_one() -> str:
            found = [
                name
                for name, pod in (await self.pods()).items()
                if not pod["spec"].get("schedulingGates")
                and pod["status"]["phase"] == "Pending"
                and "deletionTimestamp" not in pod["metadata"]
            ]
            assert len(found) == 1, found
            return found[0]

        return await eventually(find_one)

    async def run(self, pod: str) -> None:
        """Assign the pod to a machine, and report that it runs."""
        body = {"metadata": {"name": pod}, "target": {"kind": "Node", "name": "machine"}}
        await self.client.create(BINDINGS, body, QUEUE)
        await self.report(pod, phase="Running")

    async def report(self, pod: str, **status: Any) -> None:
        await self.client.patch(POD_LIST, pod, QUEUE, body={"status": status}, subresource="status")

    async def kill(self, pod: str) -> None:
        """End a pod that is being deleted, as a kubelet does."""

        async def is_told() -> bool:
            return "deletionTimestamp" in (await self.pods())[pod]["metadata"]

        await eventually(is_told)
        ended = {"name": pod, "state": {"terminated": {"exitCode": 143, "reason": "Error"}}}
        await self.report(pod, phase="Failed", containerStatuses=[ended])
        try:
            found = await self.client.get(POD_LIST, pod, QUEUE)
            await self.client.delete(POD_LIST, pod, QUEUE, uid=found["metadata"]["uid"], grace_seconds=0)
        except (NotFound, Conflict):
            return

    async def evict(self, pod: str) -> None:
        """Deactivate the pod's Workload, which evicts it."""
        for workload in (await self.client.list(WORKLOADS, QUEUE)).items:
            if any(owner["name"] == pod for owner in workload["metadata"]["ownerReferences"]):
                name = workload["metadata"]["name"]
                await self.client.patch(WORKLOADS, name, QUEUE, body={"spec": {"active": False}})
                return
        raise AssertionError(f"{pod} has no Workload")


@asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    """kube-apiserver and Kueue with one CPU to give, and our controller."""
    if find("kueue") is None:
        pytest.skip("kueue is not here; get it with: python tools/assets.py --only kueue")
    with run_kube_apiserver(directory) as server:
        async with connect(server.connection()) as client:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
            await client.create(NAMESPACES, {"metadata": {"name": QUEUE}})
            await eventually(lambda: client.list(FLOWS))
            async with (
                running_kueue(server, client, directory) as kueue,
                Storage(SETTINGS.storage, stores={"memory": MemoryStore()}) as storage,
                connect(server.connection()) as ours,
            ):
                await create_queues(client, {QUEUE: 1.0}, 1)
                async with WorkflowController(ours, storage, SETTINGS).running():
                    yield Bench(client, server, kueue)


@pytest.mark.needs("kube-apiserver")
async def test_pods_wait_in_kueues_queue_and_its_evictions_cost_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as of:
        await of.create("w", "a", "b")
        first = await of.admitted()
        second = next(name for name in ("w-a-0", "w-b-0") if name != first)
        assert (await of.pods())[second]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == QUEUE

        async def says_so() -> bool:
            waits = (await of.status("w")).get("waits") or []
            return [wait["reason"] for wait in waits] == [f"waits for Kueue: LocalQueue {QUEUE}"]

        await eventually(says_so)

        await of.run(first)  # and the queue takes it back: its next attempt waits behind the other one
        await of.evict(first)
        await of.kill(first)
        assert await of.admitted() == second
        await of.run(second)
        await of.report(second, phase="Succeeded")
        again = f"{first[:-1]}1"
        assert await of.admitted() == again
        assert (await of.pods())[again]["metadata"]["annotations"]["propeller/system-failures"] == "1"
        await of.run(again)
        await of.report(again, phase="Succeeded")

        async def has_succeeded() -> bool:
            return bool((await of.status("w")).get("state") == "Succeeded")

        await eventually(has_succeeded)
        assert (await of.status("w")).get("waits") is None


@pytest.mark.needs("kube-apiserver")
async def test_what_waits_in_kueues_queue_can_be_aborted_and_leaves_the_queue(tmp_path: Path) -> None:
    async with bench(tmp_path) as of:
        await of.create("w", "a")
        await of.run(await of.admitted())
        await of.create("v", "a")

        async def is_gated() -> bool:
            pods = await of.pods()
            return "v-a-0" in pods and bool(pods["v-a-0"]["spec"].get("schedulingGates"))

        await eventually(is_gated)
        await of.client.patch(FLOWS, "v", QUEUE, body={"metadata": {"finalizers": ["flyte.org/finalizer"]}})
        await asyncio.sleep(0.5)
        found = await of.client.get(FLOWS, "v", QUEUE)
        await of.client.delete(FLOWS, "v", QUEUE, uid=found["metadata"]["uid"])

        async def is_gone() -> bool:
            return {"v-a-0"}.isdisjoint(await of.pods()) and len((await of.client.list(FLOWS, QUEUE)).items) == 1

        await eventually(is_gone)
