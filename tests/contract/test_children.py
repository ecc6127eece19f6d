"""Executions that launch plans' nodes start, alone and in a map, on each server: their end, failure and stop."""

from __future__ import annotations

import json

from propeller.kube import Raw
from propeller.registry import Entity, EntityKind, StoredRegistry
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import ServerUnderTest
from tests.contract.test_takeover import Place, comes, controlled
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS
from tests.unit.controller.children import call, launch_plan, resource
from tests.unit.controller.test_child_maps import A, child, mapped
from tests.unit.workflow.drive import TASK


async def executions(of: Place) -> dict[str, Raw]:
    """Those that nobody has told to stop, by name."""
    found = (await of.user.list(WORKFLOWS, of.namespace)).items
    return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}


async def created(of: Place, *nodes: Raw) -> Raw:
    made = resource(*nodes, plans={"plan": launch_plan(inputs=A if "array" in nodes[0] else None)})
    return await of.user.create(WORKFLOWS, made, of.namespace)


async def fail(of: Place, pod: str) -> None:
    terminated = {"exitCode": 1, "reason": "Error"}
    container = {"name": pod, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Failed", "containerStatuses": [container | {"state": {"terminated": terminated}}]}
    await of.user.patch(RAW_PODS, pod, of.namespace, body={"status": status}, subresource="status")


async def has_pods(of: Place, *names: str) -> None:
    async def has() -> bool:
        return {*names} <= {*await of.pods()}

    await comes(has)


async def ends_as(of: Place, state: str) -> None:
    async def ends() -> bool:
        return await of.state() == state

    await comes(ends)


async def test_it_is_owned_by_its_parent_which_succeeds_with_it(server: ServerUnderTest) -> None:
    async with controlled(server) as of:
        parent = await created(of, call("n0"))
        await has_pods(of, "w-n0-0-a-0")
        [owner] = (await executions(of))["w-n0-0"]["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (parent["metadata"]["uid"], True)
        await of.report("w-n0-0-a-0", "Succeeded")
        await ends_as(of, "Succeeded")


async def test_a_map_starts_one_for_each_item_and_stops_them_if_too_many_fail(server: ServerUnderTest) -> None:
    async with controlled(server) as of:
        await created(of, mapped(Parallelism=2, MinSuccesses=3))
        await has_pods(of, *(f"{child(item)}-a-0" for item in range(2)))
        assert child(2) not in await executions(of)
        await of.report(f"{child(0)}-a-0", "Succeeded")
        await has_pods(of, f"{child(2)}-a-0")
        await fail(of, f"{child(1)}-a-0")
        await ends_as(of, "Failed")

        async def stopped() -> bool:
            return child(2) not in await executions(of)

        await comes(stopped)
        assert {child(0), child(1)} <= (await executions(of)).keys(), "those that have ended are kept"


async def test_one_whose_registered_workflow_is_larger_than_a_resource_may_be_refers_to_it(
    server: ServerUnderTest,
) -> None:
    store, plan = MemoryStore(), launch_plan()
    plan["tasks"] = plan["tasks"] | {f"t{number}": TASK | {"custom": {"x": "x" * 1000}} for number in range(2000)}
    async with Storage(StorageOptions(metadata_prefix="memory://m"), stores={"memory": store}) as storage:
        entity = Entity(EntityKind.LAUNCH_PLAN, "p", "d", "plan", "v1")
        await StoredRegistry(storage, "memory://m/registry").register(entity, json.dumps(plan).encode())
    async with controlled(server, store) as of:
        await of.user.create(WORKFLOWS, resource(call("n0"), plans={}), of.namespace)
        await has_pods(of, "w-n0-0-a-0")
        child = (await executions(of))["w-n0-0"]
        assert child["workflowClosureReference"] in store.blobs
        assert len(json.dumps(child)) < 10_000
        await of.report("w-n0-0-a-0", "Succeeded")
        await ends_as(of, "Succeeded")
