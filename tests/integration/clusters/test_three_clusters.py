"""Executions over three real API servers: isolation, spill, drain, cordon, and one of them that is killed."""

from __future__ import annotations

import asyncio

import pytest

from propeller.kube import SECRETS
from propeller.testing import eventually
from propeller.testing._certificates import Authority
from tests.integration.clusters.conftest import DEADLINE, EAST, HOME, RAW_PODS, WEST, WORKFLOWS, World

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(600)]

MANY = 300


async def _with_secrets(world: World) -> None:
    for name in (EAST, WEST):
        await world.put_secret(name, world.kubeconfig(name))


async def test_an_isolated_pool_sees_no_stranger_and_its_work_goes_nowhere_else(world: World) -> None:
    await _with_secrets(world)
    async with world.controller(world.table()):
        for number in range(20):
            await world.create(f"s{number}", "a", "b", project="secret", edges=[("a", "b")])
            await world.create(f"w{number}", "a")
        statuses = await world.until_all_have_succeeded()
    assert {one["cluster"] for name, one in statuses.items() if name.startswith("s")} == {HOME}
    assert {one["cluster"] for name, one in statuses.items() if name.startswith("w")} == {EAST, WEST}
    assert all((where == {HOME}) is pod.startswith("s") for pod, where in world.where.items())


async def test_what_a_full_cluster_cannot_take_spills_to_another_and_no_more_than_that(world: World) -> None:
    await _with_secrets(world)
    world.seconds = (2.0, 3.0)
    async with world.controller(world.table(east="priority: 1, capacity: {pods: 5}")):
        for number in range(20):
            await world.create(f"w{number}", "a")
        await world.until_all_have_succeeded()
    assert 0 < world.most[EAST] <= 5
    assert len([pod for pod, where in world.where.items() if where == {WEST}]) >= 10


async def test_a_drained_cluster_keeps_what_runs_and_a_cordoned_one_its_executions(world: World) -> None:
    await _with_secrets(world)
    world.seconds = (4.0, 5.0)
    async with world.controller(world.table(west="state: cordoned")) as controller:
        for number in range(10):
            await world.create(f"d{number}", "a", "b", edges=[("a", "b")])
        await eventually(lambda: len(world.where) == 10, deadline=DEADLINE)
        controller.route_by(world.table(east="state: draining"))
        await world.until_all_have_succeeded()
        assert {pod: where for pod, where in world.where.items() if "-a-" in pod and where != {EAST}} == {}
        assert {pod: where for pod, where in world.where.items() if "-b-" in pod and where != {WEST}} == {}
        before = set(world.where)
        controller.route_by(world.table(east="state: cordoned"))
        await world.create("c", "a")
        await world.until_all_have_succeeded()
    assert [world.where[pod] for pod in world.where.keys() - before] == [{WEST}]


async def test_a_workflow_that_is_deleted_leaves_nothing_in_any_cluster(world: World) -> None:
    await _with_secrets(world)
    async with world.controller(world.table()):
        for number in range(6):
            await world.create(f"w{number}", "a")
        await world.until_all_have_succeeded()
        for number in range(6):
            await world.clients[HOME].delete(WORKFLOWS, f"w{number}", world.namespace)

        async def nothing_is_left() -> bool:
            pages = [await world.clients[name].list(RAW_PODS, world.namespace) for name in (EAST, WEST)]
            return not any(page.items for page in pages)

        await eventually(nothing_is_left, deadline=DEADLINE)


async def test_the_end_of_a_pod_that_is_deleted_while_no_controller_runs_counts_and_nothing_is_stuck(
    world: World,
) -> None:
    await _with_secrets(world)
    world.seconds = (3.0, 3.0)
    table = world.table(west="state: cordoned")
    async with world.controller(table):
        await world.create("w", "a", "b", edges=[("a", "b")])
        await eventually(lambda: len(world.where) == 1, deadline=DEADLINE)
    await eventually(lambda: "w-a-0" in world.succeeded, deadline=DEADLINE)
    await world.clients[EAST].delete(RAW_PODS, "w-a-0", world.namespace, grace_seconds=0)
    assert (await world.clients[EAST].get(RAW_PODS, "w-a-0", world.namespace))["metadata"]["deletionTimestamp"]
    async with world.controller(table):
        statuses = await world.until_all_have_succeeded()
        assert set(world.attempts(statuses["w"])) == {0}, "no attempt ran twice"

        async def is_gone() -> bool:
            page = await world.clients[EAST].list(RAW_PODS, world.namespace)
            return "w-a-0" not in {pod["metadata"]["name"] for pod in page.items}

        await eventually(is_gone, deadline=DEADLINE)


@pytest.mark.parametrize("wrong", ["ca", "token"])
async def test_a_wrong_connection_is_that_clusters_trouble_alone_until_its_secret_is_right(
    world: World, wrong: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await world.put_secret(EAST, world.kubeconfig(EAST))
    other = Authority(tmp_path_factory.mktemp("other")).pem if wrong == "ca" else None
    token = "expired" if wrong == "token" else None
    await world.put_secret(WEST, world.kubeconfig(WEST, ca=other, token=token))
    async with world.controller(world.table()) as controller:
        for number in range(12):
            await world.create(f"w{number}", "a")
        await world.until_all_have_succeeded()
        assert {cluster for where in world.where.values() for cluster in where} == {EAST}

        def west() -> dict[str, object]:
            return next(one for one in controller.several.page() if one["name"] == WEST)

        assert not west()["healthy"]
        body = {"data": world.kubeconfig(WEST)}
        await world.clients[HOME].patch(SECRETS, world.secret_of(WEST), world.namespace, body=body)
        await eventually(lambda: bool(west()["healthy"] and west()["connected"]), deadline=DEADLINE)
        for number in range(12, 36):
            await world.create(f"w{number}", "a")
        await world.until_all_have_succeeded()
        assert {WEST} in world.where.values()


async def test_all_of_300_workflows_succeed_though_the_api_server_of_one_cluster_is_killed(world: World) -> None:
    await _with_secrets(world)
    world.seconds = (1.0, 12.0)
    east = world.servers[EAST]
    async with world.controller(world.table()) as controller:
        for number in range(MANY):
            await world.create(f"w{number}", "a", "b", edges=[("a", "b")])
        await eventually(lambda: len(world.where) > MANY // 2, deadline=DEADLINE)
        east.stop(crash=True)
        await eventually(
            lambda: any("-a-1" in pod for pod in world.where), deadline=DEADLINE
        )  # the grace is over: attempts are tried again
        await asyncio.sleep(5.0)
        east.spawn()
        await asyncio.to_thread(east.wait)
        statuses = await world.until_all_have_succeeded()
        assert len(statuses) == MANY
        for name, status in statuses.items():
            for node, attempt in zip("ab", world.attempts(status), strict=False):
                assert f"{name}-{node}-{attempt}" in world.succeeded, "what counts has succeeded"
        twice = {pod: where for pod, where in world.where.items() if len(where) > 1}
        assert twice == {}, "no attempt was ever in two clusters"
        assert not any(HOME in where for where in world.where.values()), "none is placed against a rule"
        counted = sum(status["counts"]["succeeded"] for status in statuses.values())
        assert counted == 2 * MANY
        assert all(one["healthy"] for one in controller.several.page())
