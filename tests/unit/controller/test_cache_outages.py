"""A cache that is slow, failing or down is as good as none: tasks run, and the log says so once."""

from __future__ import annotations

import asyncio

import pytest

from propeller.catalog import Catalog
from propeller.errors import StorageError
from propeller.storage import MemoryStore
from tests.unit.controller.bench import bench
from tests.unit.controller.cached import compute, create, lookups, state, template, with_x


class BadCache(MemoryStore):
    """Blobs of executions are served, those of the cache after `pause` seconds, or not at all."""

    def __init__(self, pause: float = 0.0, *, fails: bool = False) -> None:
        super().__init__()
        self.pause = pause
        self.fails = fails
        self.asked = 0

    async def _cross(self, uri: str) -> None:
        if "/catalog/" in uri:
            self.asked += 1
            await asyncio.sleep(self.pause)
            if self.fails:
                raise StorageError(f"the connection broke at {uri}")

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        await self._cross(uri)
        return await super().read_version(uri, limit)

    async def copy(self, source: str, target: str) -> str | None:
        await self._cross(source)
        return await super().copy(source, target)

    async def create(self, uri: str, data: bytes) -> str | None:
        await self._cross(uri)
        return await super().create(uri, data)


@pytest.mark.parametrize("serialize", [False, True])
@pytest.mark.parametrize("store", [BadCache(fails=True), BadCache(3600.0)], ids=["failing", "hanging"])
async def test_the_task_runs_and_the_execution_succeeds(
    store: BadCache, serialize: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(store=store) as of, of.controller():
        first = await create(of, "a", with_x("n0", 3), tasks={"t": template(serialize=serialize)})
        await asyncio.sleep(10.0)
        await compute(of, first, "a-n0-0", "n0", 9)
        await asyncio.sleep(10.0)
        assert await state(of, "a") == "Succeeded"
        assert of.measured("propeller_cache_puts_total", outcome="failure") == 1
    assert caplog.text.count("the cache cannot be read: tasks run uncached") == 1


async def test_after_three_failures_the_store_is_left_alone_for_a_while() -> None:
    store = BadCache(fails=True)
    async with bench(store=store) as of, of.controller():
        for number in range(10):
            await create(of, f"a{number}", with_x("n0", number))
        assert lookups(of, "failure") == 3
        assert lookups(of, "skipped") == 7
        store.fails = False
        await asyncio.sleep(of.settings.catalog.outage_pause)
        await create(of, "b", with_x("n0", 3))
        assert lookups(of, "miss") == 1


async def test_a_defect_of_the_cache_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def defective(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Catalog, "look_up", defective)
    monkeypatch.setattr(Catalog, "put", defective)
    async with bench() as of, of.controller():
        first = await create(of, "a", with_x("n0", 3))
        await compute(of, first, "a-n0-0", "n0", 9)
        assert await state(of, "a") == "Succeeded"
