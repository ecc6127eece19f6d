"""Real API servers that go away or lose what they stored, while the others go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from propeller.kube import Raw
from propeller.testing import KubeApiserver, eventually
from tests.integration.clusters.conftest import DEADLINE, EAST, HOME, RAW_PODS, WEST, World

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(600)]

MANY = 12
LINE = [("a", "b")]


async def _with_secrets(world: World) -> None:
    for name in (EAST, WEST):
        await world.put_secret(name, world.kubeconfig(name))


async def _create(world: World, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await world.create(f"w{number}", "a", "b", edges=LINE)


async def _back(server: KubeApiserver) -> None:
    server.spawn()
    await asyncio.to_thread(server.wait)


def _check(world: World, statuses: dict[str, Raw]) -> None:
    """Each node counts by one attempt that succeeded, and none was ever in two clusters."""
    for name, status in statuses.items():
        for node, attempt in zip("ab", world.attempts(status), strict=False):
            assert f"{name}-{node}-{attempt}" in world.succeeded
    assert {pod: where for pod, where in world.where.items() if len(where) > 1} == {}


async def test_a_controller_that_is_replaced_while_a_cluster_is_away_loses_nothing_and_runs_nothing_twice(
    world: World,
) -> None:
    await _with_secrets(world)
    world.seconds = (1.0, 8.0)
    east = world.servers[EAST]
    async with world.controller(world.table()):
        await _create(world, MANY)
        await eventually(lambda: len(world.where) == MANY, deadline=DEADLINE)
        east.stop(crash=True)
        await asyncio.sleep(1.0)
    async with world.controller(world.table()):
        await _create(world, MANY, first=MANY)
        await eventually(lambda: any("-a-1" in pod for pod in world.where), deadline=DEADLINE)  # the grace is over
    async with world.controller(world.table()) as controller:
        await _back(east)
        statuses = await world.until_all_have_succeeded()
        assert len(statuses) == 2 * MANY
        _check(world, statuses)
        await eventually(lambda: all(one["healthy"] for one in controller.several.page()), deadline=DEADLINE)

        async def no_lost_attempt_runs() -> bool:
            pods = (await world.clients[EAST].list(RAW_PODS, world.namespace)).items
            return all(pod["status"]["phase"] == "Succeeded" for pod in pods)

        await eventually(no_lost_attempt_runs, deadline=DEADLINE)


async def test_processes_that_are_killed_while_a_cluster_is_away_lose_nothing_and_count_each_result_once(
    world: World, tmp_path: Path
) -> None:
    await _with_secrets(world)
    world.seconds = (1.0, 8.0)
    east = world.servers[EAST]
    async with world.process(tmp_path):
        await _create(world, MANY)
        await eventually(lambda: len(world.where) == MANY, deadline=DEADLINE)
        east.stop(crash=True)
        await asyncio.sleep(1.0)
    async with world.process(tmp_path):  # knows nothing of east but what statuses say, until it gives it up
        await _create(world, MANY, first=MANY)
        await eventually(lambda: any("-a-1" in pod for pod in world.where), deadline=DEADLINE)
    async with world.process(tmp_path):
        await asyncio.sleep(2.0)
        await _back(east)
        statuses = await world.until_all_have_succeeded()
        assert len(statuses) == 2 * MANY
        _check(world, statuses)
        assert {status["counts"]["succeeded"] for status in statuses.values()} == {len("ab")}

        async def no_lost_attempt_runs() -> bool:
            pods = (await world.clients[EAST].list(RAW_PODS, world.namespace)).items
            return all(pod["status"]["phase"] == "Succeeded" for pod in pods)

        await eventually(no_lost_attempt_runs, deadline=DEADLINE)


async def test_while_the_workflows_cluster_is_away_the_others_go_on_and_nothing_runs_twice(world: World) -> None:
    await _with_secrets(world)
    world.seconds = (2.0, 4.0)
    home = world.servers[HOME]
    async with world.controller(world.table()):
        await _create(world, MANY)
        await eventually(lambda: len(world.where) == MANY, deadline=DEADLINE)
        home.stop(crash=True)
        await eventually(lambda: len(world.succeeded) >= MANY, deadline=DEADLINE)
        await asyncio.sleep(5.0)
        await _back(home)
        statuses = await world.until_all_have_succeeded()
    _check(world, statuses)
    assert {attempt for status in statuses.values() for attempt in world.attempts(status)} == {0}


async def test_a_cluster_whose_etcd_is_put_back_to_an_older_copy_delays_only_what_it_has_forgotten(
    world: World, tmp_path: Path
) -> None:
    await _with_secrets(world)
    world.seconds = (4.0, 8.0)
    east, copy = world.servers[EAST], tmp_path / "copy"
    async with world.controller(world.table(west="state: cordoned")):
        await _create(world, MANY)
        await eventually(lambda: len(world.where) == MANY, deadline=DEADLINE)
        east.spawn_copied(copy)
        await asyncio.to_thread(east.wait)
        await eventually(lambda: sum("-b-" in pod for pod in world.where) >= MANY // 2, deadline=DEADLINE)
        east.spawn_restored(copy)
        await asyncio.to_thread(east.wait)
        statuses = await world.until_all_have_succeeded()
        _check(world, statuses)
        assert {cluster for where in world.where.values() for cluster in where} == {EAST}

        async def nothing_runs() -> bool:
            pods = (await world.clients[EAST].list(RAW_PODS, world.namespace)).items
            return all(pod["status"]["phase"] == "Succeeded" for pod in pods)

        await eventually(nothing_runs, deadline=DEADLINE)
