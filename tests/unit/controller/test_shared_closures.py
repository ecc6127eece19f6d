"""Executions of one launch plan share a stored closure if their own would take more than a setting allows."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from propeller.errors import StorageError
from propeller.registry import Entity, EntityKind, StoredRegistry
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.children import call, create, end, exists, launch_plan, status, workflow
from tests.unit.controller.test_child_maps import PLANS, child, give, mapped, outputs
from tests.unit.controller.test_children import leave_outputs, with_options
from tests.unit.workflow.drive import task

REFERENCE = "workflowClosureReference"


class Closures(MemoryStore):
    """Counts the writes of closures; may be down for them, and may lose or change them."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.is_down = False
        self.becomes: bytes | None = None
        """None: what is written. Empty: nothing."""

    async def write(self, uri: str, data: bytes) -> None:
        if "/_closures/" in uri:
            self.writes += 1
            await asyncio.sleep(0.1)
            if self.is_down:
                raise StorageError(f"{uri}: the store is down")
            if self.becomes is not None:
                data = self.becomes
            if not data:
                return
        await super().write(uri, data)

    @property
    def closures(self) -> list[str]:
        return [uri for uri in self.blobs if "/_closures/" in uri]


@asynccontextmanager
async def sharing(store: Closures | None = None, size: int = 0, cache_bytes: int = 0) -> AsyncIterator[Bench]:
    """A bench whose closures are shared beyond `size` bytes; by default nothing is kept in memory of what is stored."""
    async with bench() as of:
        storage = Storage(
            StorageOptions(metadata_prefix="memory://m", cache_bytes=cache_bytes),
            stores={"memory": store or Closures()},
        )
        yield with_options(replace(of, storage=storage), child_closure_bytes=size)


async def test_items_of_a_map_refer_to_one_closure_that_is_stored_once_and_run_as_others() -> None:
    store = Closures()
    async with sharing(store) as of, of.controller():
        await create(of, mapped(), plans=PLANS)
        found = [await workflow(of, child(item)) for item in range(3)]
        assert {one[REFERENCE] for one in found} == {*store.closures}
        assert store.writes == 1
        assert not any("tasks" in one or "nodes" in one["spec"] for one in found)
        for item in range(3):
            await give(of, child(item), item)
        assert (await status(of, "w"))["state"] == "Succeeded"
        assert await outputs(of) == [0, 1, 2]


async def test_it_is_named_by_its_content() -> None:
    store = Closures()
    async with sharing(store) as of, of.controller():
        await create(of, mapped(), plans=PLANS)
    [uri] = store.closures
    assert uri == f"memory://m/_closures/{hashlib.sha256(store.blobs[uri]).hexdigest()}.json"


@pytest.mark.parametrize(("items", "is_shared"), [(2, False), (3, True)])
async def test_it_is_shared_only_if_all_of_them_would_take_more_than_the_setting(items: int, is_shared: bool) -> None:
    async with sharing() as of, of.controller():
        await create(of, mapped(), plans=PLANS)
        uri = (await workflow(of, child(0)))[REFERENCE]
        size = len(await of.storage.read(uri))
    async with sharing(size=2 * size + 1) as of, of.controller():
        over = {"collection": {"bindings": [{"scalar": {"primitive": {"integer": "1"}}}] * items}}
        await create(of, mapped(over={"a": over}), plans=PLANS)
        assert (REFERENCE in await workflow(of, child(0))) == is_shared


async def test_nodes_of_one_workflow_share_as_items_of_a_map_do() -> None:
    store = Closures()
    async with sharing(store, size=3000) as of, of.controller():
        await create(of, *(call(f"n{number}") for number in range(8)))
        assert REFERENCE in await workflow(of, "w-n7-0")
        await create(of, call("n0"), name="alone")
        assert REFERENCE not in await workflow(of, "alone-n0-0")
    assert store.writes == 1


async def test_launch_plans_that_executions_start_in_turn_come_with_it() -> None:
    plans = {"plan": launch_plan(call("m", "inner")), "inner": launch_plan(name="inner")}
    async with sharing() as of, of.controller():
        await create(of, plans=plans)
        assert REFERENCE in await workflow(of, "w-n0-0-m-0")
        await end(of, "w-n0-0-m-0-a-0")
        assert (await status(of, "w"))["state"] == "Succeeded"


async def test_a_store_that_is_down_has_them_wait_and_say_so_while_others_go_on() -> None:
    store = Closures()
    store.is_down = True
    async with sharing(store) as of, of.controller():
        await create(of, mapped(), task("n1"), plans=PLANS)
        assert store.writes == 1, "what one of them learns counts for all"
        await asyncio.sleep(10.0)
        assert not await exists(of, child(0))
        assert await of.has_pod("w-n1-0")
        waits = (await status(of, "w"))["waits"]
        assert [one["node"] for one in waits] == ["n0-0-n0", "n0-0-n1", "n0-0-n2"]
        assert all("the store is down" in one["reason"] for one in waits)
        store.is_down = False
        await asyncio.sleep(30.0)
        assert all([await exists(of, child(item)) for item in range(3)])


@pytest.mark.parametrize(
    ("becomes", "says"),
    [(b"", "somebody has removed memory://m/_closures/"), (b"{}", "somebody has changed memory://")],
)
async def test_one_that_is_lost_or_changed_fails_what_needs_it_by_the_system_and_says_what_helps(
    becomes: bytes, says: str
) -> None:
    store = Closures()
    store.becomes = becomes
    async with sharing(store) as of, of.controller():
        await create(of, plans={"plan": launch_plan()})
        its, ended = await status(of, "w-n0-0"), await status(of, "w")
        assert (its["state"], ended["state"]) == ("Failed", "Failed")
        assert its["error"]["kind"] == ended["error"]["kind"] == "SYSTEM"
        assert says in ended["error"]["message"]
        assert "recover or relaunch" in ended["error"]["message"]
        store.becomes = None
        await asyncio.sleep(60.0)
        again = {"executionConfig": {"RecoveryExecution": {"name": "w"}}}
        await create(of, plans={"plan": launch_plan()}, name="again", **again)
        await end(of, "again-n0-0-a-0")
        assert (await status(of, "again"))["state"] == "Succeeded"


async def test_a_controller_that_comes_after_a_crash_stores_it_again_and_starts_none_twice() -> None:
    store = Closures()
    async with sharing(store) as of:
        async with of.controller():
            await create(of, mapped(Parallelism=2), plans=PLANS)
        uids = [(await workflow(of, child(item)))["metadata"]["uid"] for item in range(2)]
        async with of.controller():
            for item in range(3):
                await give(of, child(item), item)
            assert (await status(of, "w"))["state"] == "Succeeded"
        assert [(await workflow(of, child(item)))["metadata"]["uid"] for item in range(2)] == uids
        assert len(store.closures) == 1


async def test_it_is_not_read_again_while_an_execution_runs_it() -> None:
    store = Closures()
    async with sharing(store) as of, of.controller():
        await create(of, plans={"plan": launch_plan()})
        made = await workflow(of, "w-n0-0")
        store.blobs.pop(made[REFERENCE])
        more = {"metadata": {"name": "another"}, REFERENCE: made[REFERENCE], "offloadedInputs": made["offloadedInputs"]}
        await of.user.create(WORKFLOWS, more, "ns")
        await asyncio.sleep(1.0)
        await end(of, "another-a-0")
        assert (await status(of, "another"))["state"] == "Succeeded"


@pytest.mark.parametrize("sizes", [(1_000_000, 0), (0, 1_000_000)])
async def test_a_recovery_takes_over_from_executions_that_had_it_elsewhere(sizes: tuple[int, int]) -> None:
    """A registry may have other white space than a server writes."""
    plan = launch_plan(task("a", task="gives"), task("b"), outputs=("o0",), edges=[("a", "b")])
    async with sharing(size=sizes[0]) as of:
        entity = Entity(EntityKind.LAUNCH_PLAN, "p", "d", "plan", "v1")
        await StoredRegistry(of.storage, "memory://m/registry").register(entity, json.dumps(plan, indent=2).encode())
        async with of.controller():
            await create(of, plans={})
            await leave_outputs(of)
            await end(of, "w-n0-0-a-0")
            await end(of, "w-n0-0-b-0", "Failed")
        of = with_options(of, child_closure_bytes=sizes[1])
        async with of.controller():
            recovers = {"executionConfig": {"RecoveryExecution": {"name": "w"}}}
            await create(of, plans={}, name="again", **recovers)
            assert (REFERENCE in await workflow(of, "again-n0-0")) == (sizes[1] == 0)
            assert not await of.has_pod("again-n0-0-a-0")
            await leave_outputs(of, "again-n0-0")
            await end(of, "again-n0-0-b-0")
            assert (await status(of, "again"))["state"] == "Succeeded"
