"""Quotas of one cluster without room: new work goes to clusters that have some, and waits in turns if none has."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from propeller.handlers import Asked
from propeller.kube import RESOURCE_QUOTAS
from propeller.routing import parse_table
from tests.unit.controller.far import Far, far, table, text
from tests.unit.workflow.drive import task

SETTLED = 5.0


async def _limit(of: Far, cluster: str, **hard: str) -> None:
    hard = {name.replace("_", "."): amount for name, amount in hard.items()}
    await of.users[cluster].create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, "ns")
    await asyncio.sleep(SETTLED)


async def _run(of: Far, count: int) -> Counter[str]:
    """Create so many executions; returns how many pods each cluster has then."""
    for number in range(count):
        await of.create(f"w{number}", task("a"))
        await asyncio.sleep(of.settings.launches.quota_settle + 1.0)  # the quota's status is believed then
    return Counter({cluster: len(await of.pods(cluster)) for cluster in of.users})


@pytest.mark.parametrize("hard", ["pods", "count/pods"])
async def test_executions_go_where_the_quota_of_their_namespace_has_room(hard: str) -> None:
    async with far() as of, of.controller(table()) as controller:
        await _limit(of, "east", **{hard: "3"})
        assert await _run(of, 20) == {"east": 3, "west": 17}
        assert controller.queue(Asked())["quotas"] == [], "none waits"


async def test_if_no_cluster_has_room_they_wait_in_the_turns_of_a_quota_and_are_woken() -> None:
    async with far() as of, of.controller(table()) as controller:
        await _limit(of, "east", pods="3")
        await _limit(of, "west", pods="4")
        assert await _run(of, 12) == {"east": 3, "west": 4}
        waiting = controller.queue(Asked())["quotas"]
        assert {(one["cluster"], one["namespace"]) for one in waiting} <= {("east", "ns"), ("west", "ns")}
        assert sum(one["waiting"] for one in waiting) == 5
        assert sum(one["waitingForQuota"] for one in controller.several.page()) == 5
        for cluster in of.users:
            for pod in await of.pods(cluster):
                await of.report(cluster, pod, phase="Succeeded")
        await asyncio.sleep(SETTLED)
        launched = {pod for cluster in of.users for pod in await of.pods(cluster)}
        assert len(launched) == 12


async def test_attempts_of_an_execution_go_elsewhere_while_its_cluster_has_no_room() -> None:
    rest = parse_table(text(west="cordoned").encode())
    async with far() as of, of.controller(rest) as controller:
        await of.create("w", task("a"), task("b"), edges=[("a", "b")])
        await asyncio.sleep(SETTLED)
        assert await of.where("w-a-0") == "east"
        await _limit(of, "east", pods="0")
        controller.route_by(table())
        await of.report("east", "w-a-0", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        assert await of.where("w-b-0") == "west"
        await of.report("west", "w-b-0", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        status = await of.status("w")
        assert (status["state"], status["cluster"]) == ("Succeeded", "east"), "the execution itself stays"


async def test_a_quota_of_other_things_than_pods_keeps_nothing_away() -> None:
    async with far() as of, of.controller(parse_table(text(west="cordoned").encode())):
        await _limit(of, "east", services="0")
        assert await _run(of, 3) == {"east": 3, "west": 0}
