"""With cache_serialize, of several executions that would compute the same one does, and the others wait for it."""

from __future__ import annotations

import asyncio

import msgspec

from propeller.storage import MemoryStore
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.cached import compute, create, end, lookups, outputs, state, template, with_x

SERIALIZED = {"t": template(serialize=True)}


def reservation(store: MemoryStore) -> str:
    (found,) = [uri for uri in store.blobs if uri.endswith(".reservation")]
    return found


async def reason(of: Bench, name: str) -> str:
    status = (await of.user.get(WORKFLOWS, name, "ns"))["status"]
    return str(status["waits"][0]["reason"])


async def test_the_second_waits_and_says_for_whom_and_gets_the_result_as_soon_as_it_is_there() -> None:
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
        await asyncio.sleep(4.0)
        assert not await of.has_pod("b-n0-0")
        assert "ns/a computes the same" in await reason(of, "b")
        before = of.clock.now()
        await compute(of, first, "a-n0-0", "n0", 9)
        while await state(of, "b") != "Succeeded":
            await asyncio.sleep(0.1)
        assert of.clock.now() - before < 5.0  # and not with the next poll
        assert lookups(of, "hit") == 1


async def test_while_it_waits_for_one_of_this_process_the_store_is_not_asked() -> None:
    async with bench() as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
        asked = lookups(of, "miss")
        await asyncio.sleep(50.0)
        assert lookups(of, "miss") == asked


async def test_one_of_those_who_wait_goes_on_if_the_first_fails() -> None:
    async with bench() as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        for name in ("b", "c"):
            await create(of, name, with_x("n0", 3), tasks=SERIALIZED)
        await end(of, "a-n0-0", exit_code=1)
        assert await of.has_pod("b-n0-0")
        assert not await of.has_pod("c-n0-0")


async def test_those_who_wait_go_on_if_the_first_is_deleted() -> None:
    async with bench() as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
        await of.user.delete(WORKFLOWS, "a", "ns")
        await asyncio.sleep(2.0)
        assert await of.has_pod("b-n0-0")


class SlowCache(MemoryStore):
    """It takes seconds to say that an entry is not there."""

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        await asyncio.sleep(3.0 if "/catalog/" in uri else 0.0)
        return await super().read_version(uri, limit)

    async def read(self, uri: str, limit: int) -> bytes:
        await asyncio.sleep(3.0 if "/catalog/" in uri else 0.0)
        return await super().read(uri, limit)


async def test_one_that_is_deleted_while_it_looks_for_an_entry_reserves_nothing() -> None:
    """Found by the simulation: it reserved the computation afterwards, and the controller renewed that for ever."""
    store = SlowCache(is_local=False)
    async with bench(store=store) as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        await of.user.delete(WORKFLOWS, "a", "ns")
        await asyncio.sleep(30.0)
        assert not [uri for uri in store.blobs if uri.endswith(".reservation")]
        await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
        await asyncio.sleep(30.0)
        assert await of.has_pod("b-n0-0")


async def test_other_inputs_wait_for_nobody() -> None:
    async with bench() as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        await create(of, "b", with_x("n0", 4), tasks=SERIALIZED)
        assert await of.has_pod("b-n0-0")


async def test_the_reservation_of_a_process_that_has_died_is_void_after_its_time() -> None:
    store = MemoryStore()
    async with bench(store=store) as of:
        async with of.controller():
            await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
            record = msgspec.json.decode(store.blobs[reservation(store)])
        await of.user.delete(WORKFLOWS, "a", "ns")
        store.blobs[reservation(store)] = msgspec.json.encode(record | {"renewed": of.clock.now()})
        async with of.controller():
            await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
            ttl = of.settings.catalog.reservation_ttl
            await asyncio.sleep(ttl / 2)
            assert not await of.has_pod("b-n0-0")
            await asyncio.sleep(ttl)
            assert await of.has_pod("b-n0-0")


async def test_a_reservation_is_kept_as_long_as_its_task_runs_also_by_the_next_process() -> None:
    store = MemoryStore()
    async with bench(store=store) as of:
        async with of.controller():
            await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
            await asyncio.sleep(300.0)
        async with of.controller():
            await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
            await asyncio.sleep(300.0)
            assert not await of.has_pod("b-n0-0")
            record = msgspec.json.decode(store.blobs[reservation(store)])
            assert of.clock.now() - record["renewed"] <= of.settings.catalog.reservation_ttl / 2


async def test_a_reservation_is_gone_when_its_task_has_ended() -> None:
    store = MemoryStore()
    async with bench(store=store) as of, of.controller():
        first = await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        assert reservation(store)
        await compute(of, first, "a-n0-0", "n0", 9)
        assert not [uri for uri in store.blobs if uri.endswith(".reservation")]


async def test_a_reservation_of_garbage_holds_nobody_up() -> None:
    store = MemoryStore()
    async with bench(store=store) as of, of.controller():
        await create(of, "a", with_x("n0", 3), tasks=SERIALIZED)
        uri = reservation(store)
        await end(of, "a-n0-0", exit_code=1)
        store.blobs[uri] = outputs(1)
        await create(of, "b", with_x("n0", 3), tasks=SERIALIZED)
        assert await of.has_pod("b-n0-0")
