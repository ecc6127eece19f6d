"""Pods of a large map's items leave the cache once a status has their end, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from propeller.controller import WorkflowController
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Raw, Request, Response
from tests.unit.controller.bench import RAW_PODS, bench
from tests.unit.controller.children import end
from tests.unit.controller.test_child_maps import integers
from tests.unit.workflow.drive import task

ITEMS = ["w-m-0-n0-0", "w-m-0-n1-0", "w-m-0-n2-0"]
MAP: Raw = {
    "id": "m",
    "kind": "array",
    "array": {"SubNodeSpec": task("item")},
    "inputBindings": [{"var": "x", "binding": integers(1, 2, 3)}],
}


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propeller.controller._settled.LARGE", 2)


def cached(controller: WorkflowController) -> list[str]:
    return sorted(pod.metadata.name for pod in controller._clusters.control.resources.pods.store)


async def test_the_pod_of_an_item_leaves_the_cache_with_the_status_that_has_its_end() -> None:
    async with bench() as of, of.controller() as controller:
        await of.create(MAP)
        await end(of, ITEMS[1])
        assert cached(controller) == [ITEMS[0], ITEMS[2]]
        assert sorted(await of.pods()) == ITEMS


async def test_what_happens_to_such_a_pod_afterwards_changes_nothing() -> None:
    async with bench() as of, of.controller() as controller:
        await of.create(MAP)
        await end(of, ITEMS[0])
        await of.user.delete(RAW_PODS, ITEMS[0], "ns")
        await end(of, ITEMS[1])
        await of.report(ITEMS[1], phase="Failed")
        await end(of, ITEMS[2])
        assert (await of.status())["state"] == "Succeeded"
        assert sorted(await of.pods()) == ITEMS[1:]
        assert not controller._executions.sessions


async def test_after_a_restart_no_item_runs_again() -> None:
    async with bench() as of:
        async with of.controller():
            await of.create(MAP)
            await end(of, ITEMS[0])
        async with of.controller():
            for name in ITEMS[1:]:
                await end(of, name)
        assert (await of.status())["state"] == "Succeeded"
        assert sorted(await of.pods()) == ITEMS


async def test_an_item_that_fails_keeps_its_pod_in_the_cache() -> None:
    async with bench() as of, of.controller() as controller:
        await of.create(MAP | {"array": {"SubNodeSpec": task("item"), "MinSuccesses": 1}})
        await end(of, ITEMS[0], "Failed")
        await end(of, ITEMS[1])
        assert cached(controller) == [ITEMS[0], ITEMS[2]]


async def test_a_small_map_keeps_its_pods_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propeller.controller._settled.LARGE", 3)
    async with bench() as of, of.controller() as controller:
        await of.create(MAP)
        await end(of, ITEMS[0])
        assert cached(controller) == ITEMS


class NoStatus:
    """Statuses cannot be written while this is broken."""

    broken = True

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.broken and request.method == "PATCH" and "/flyteworkflows/" in request.path:
            raise Unavailable("down")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_a_pod_stays_until_a_status_can_be_written() -> None:
    server = NoStatus()
    async with bench() as of, of.controller(server) as controller:
        await of.create(MAP)
        await end(of, ITEMS[0])
        assert cached(controller) == ITEMS
        server.broken = False
        await asyncio.sleep(60.0)
        assert cached(controller) == ITEMS[1:]
