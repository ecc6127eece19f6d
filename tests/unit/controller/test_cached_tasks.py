"""Outputs of cached tasks are used by later executions, and nothing of the cache fails or blocks one."""

from __future__ import annotations

import asyncio

import pytest

from propeller.storage import MemoryStore
from tests.unit.controller.bench import WORKFLOWS, bench
from tests.unit.controller.cached import compute, create, end, lookups, outputs, state, template, value_in, with_x


async def test_what_was_computed_once_is_not_computed_again() -> None:
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        second = await create(of, "b", with_x("n0", 3))
        await asyncio.sleep(1.0)
        assert not await of.has_pod("b-n0-0")
        assert await state(of, "b") == "Succeeded"
        assert value_in(await of.storage.read(f"{second}/n0/data/0/outputs.pb", fresh=True)) == 9
        assert (lookups(of, "miss"), lookups(of, "hit")) == (1, 1)


@pytest.mark.parametrize("other", [{"value": 4}, {"version": "2"}, {"name": "another"}])
async def test_another_input_version_or_task_is_another_computation(other: dict[str, object]) -> None:
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        tasks = {"t": template(str(other.get("name", "t")), discoveryVersion=other.get("version", "1"))}
        await create(of, "b", with_x("n0", int(str(other.get("value", 3)))), tasks=tasks)
        assert await of.has_pod("b-n0-0")


async def test_an_ignored_input_does_not_matter() -> None:
    tasks = {"t": template(cacheIgnoreInputVars=["x"])}
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3), tasks=tasks)
        await compute(of, first, "a-n0-0", "n0", 9)
        await create(of, "b", with_x("n0", 4), tasks=tasks)
        assert not await of.has_pod("b-n0-0")


async def test_a_task_that_is_not_cached_asks_for_nothing_of_the_cache() -> None:
    store = MemoryStore()
    async with bench(store=store) as of, of.controller():
        first = await create(of, "a", with_x("n0", 3), tasks={"t": template(discoverable=False)})
        await compute(of, first, "a-n0-0", "n0", 9)
        assert await state(of, "a") == "Succeeded"
        assert not [uri for uri in store.blobs if "/catalog/" in uri]
        assert of.measured("propeller_cache_lookups_total") == of.measured("propeller_cache_puts_total") == 0


async def test_an_execution_that_overwrites_the_cache_computes_again_and_its_outputs_are_used_then() -> None:
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        again = await create(of, "b", with_x("n0", 3), config={"OverwriteCache": True})
        await compute(of, again, "b-n0-0", "n0", 10)
        third = await create(of, "c", with_x("n0", 3))
        await asyncio.sleep(1.0)
        assert value_in(await of.storage.read(f"{third}/n0/data/0/outputs.pb", fresh=True)) == 10


@pytest.mark.parametrize(
    ("override", "runs"),
    [({"cacheable": False}, True), ({"cacheVersion": "7"}, True), ({"cacheVersion": "1"}, False)],
)
async def test_a_node_overrides_what_its_task_says_of_the_cache(override: dict[str, object], runs: bool) -> None:
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        await create(of, "b", with_x("n0", 3, cache=override))
        assert await of.has_pod("b-n0-0") is runs


async def test_a_node_may_be_cached_though_its_task_is_not() -> None:
    tasks, override = {"t": template(discoverable=False)}, {"cacheable": True, "cacheVersion": "1"}
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3, cache=override), tasks=tasks)
        await compute(of, first, "a-n0-0", "n0", 9)
        await create(of, "b", with_x("n0", 3, cache=override), tasks=tasks)
        assert not await of.has_pod("b-n0-0")


async def test_a_pod_that_builds_on_a_hit_is_created_once_a_status_has_the_hit() -> None:
    chain = (with_x("n0", 3), with_x("n1", "n0", cache={"cacheable": False}))
    async with bench(max_lag=1000.0) as of, of.controller():
        first = await create(of, "a", *chain, edges=[("n0", "n1")])
        await compute(of, first, "a-n0-0", "n0", 9)
        await create(of, "b", *chain, edges=[("n0", "n1")])
        await asyncio.sleep(1.0)
        assert await of.has_pod("b-n1-0")
        status = (await of.user.get(WORKFLOWS, "b", "ns"))["status"]
        assert status["counts"]["succeeded"] == 1


async def test_after_a_failed_attempt_nothing_is_cached() -> None:
    async with bench() as of, of.controller():
        await create(of, "a", with_x("n0", 3))
        await end(of, "a-n0-0", exit_code=1)
        assert await state(of, "a") == "Failed"
        await create(of, "b", with_x("n0", 3))
        assert await of.has_pod("b-n0-0")


@pytest.mark.parametrize("garbage", [b"garbage", outputs(9), b""])
async def test_an_entry_of_somebody_else_is_a_miss_and_removed(garbage: bytes) -> None:
    store = MemoryStore()
    async with bench(store=store) as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        (entry,) = [uri for uri in store.blobs if "/catalog/" in uri]
        store.blobs[entry] = garbage
        again = await create(of, "b", with_x("n0", 3))
        assert await of.has_pod("b-n0-0")
        assert f"{again}/n0/data/0/outputs.pb" not in store.blobs
        assert lookups(of, "invalid") == 1
        await compute(of, again, "b-n0-0", "n0", 10)
        await create(of, "c", with_x("n0", 3))
        assert not await of.has_pod("c-n0-0")


async def test_what_an_execution_had_from_the_cache_is_not_taken_for_begun_when_it_is_loaded_again() -> None:
    """Regression, found by simulated worlds: it was launched then, as if it had a pod."""
    chain = (with_x("n0", 3), with_x("n1", "n0", cache={"cacheable": False}))
    async with bench(max_lag=1000.0) as of, of.controller():
        first = await create(of, "a", *chain, edges=[("n0", "n1")])
        await compute(of, first, "a-n0-0", "n0", 9)
        await create(of, "b", *chain, edges=[("n0", "n1")])
        await of.user.patch(WORKFLOWS, "b", "ns", body={"status": {"nodes": None, "note": "1"}}, subresource="status")
        await asyncio.sleep(5.0)
        await of.report("b-n1-0", phase="Running")
        await of.user.patch(WORKFLOWS, "b", "ns", body={"status": {"nodes": None, "note": "2"}}, subresource="status")
        await end(of, "b-n1-0", exit_code=1)
        await asyncio.sleep(5.0)
        assert not await of.has_pod("b-n0-0")
