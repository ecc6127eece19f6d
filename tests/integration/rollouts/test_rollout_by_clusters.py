"""A new version is tried in the cluster that bakes, on real API servers: nothing of it comes into the other cluster."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest._killed import NAMESPACE, prepare, problems_of
from loadtest._ledger import Ledger
from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import NAMESPACES, PODS, Client, connect
from propeller.reconcile.rollouts import State
from propeller.storage import Storage, StorageOptions
from propeller.testing import KubeApiserver, run_kube_apiserver
from tests.integration.rollouts.bad_half import MADE_BY
from tests.integration.rollouts.world import LEASES, TASKS, World, all_ended, watched

BAD_VERSION = Path(__file__).with_name("bad_half.py")
HOME, EDGE = "home", "edge"
SHARDS = 18
"""Of 16 groups of keys, of workflows without one, and of the cluster that bakes."""

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(600)]


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KubeApiserver]]:
    with (
        run_kube_apiserver(tmp_path_factory.mktemp(HOME)) as home,
        run_kube_apiserver(tmp_path_factory.mktemp(EDGE)) as edge,
    ):
        yield {HOME: home, EDGE: edge}


def routes(edge: KubeApiserver, directory: Path) -> Path:
    path = directory / "routes.yaml"
    path.write_text(
        f"""
clusters:
  - {{name: {HOME}, connection: {{inCluster: true}}}}
  - {{name: {EDGE}, state: bake, connection: {{kubeconfig: {edge.kubeconfig(directory / EDGE)}}}}}
pools:
  - {{name: all, clusters: [{HOME}, {EDGE}]}}
rules:
  - {{name: everything, pool: all}}
"""
    )
    return path


async def made_by_the_bad_version(client: Client) -> Counter[bool]:
    """How many pods of a cluster are of that version, and how many are not."""
    pods = [pod async for page in client.pages(PODS, NAMESPACE) for pod in page.items]
    return Counter(MADE_BY.items() <= (pod.metadata.labels or {}).items() for pod in pods)


async def test_a_bad_version_is_caught_in_the_cluster_that_bakes_and_the_other_never_runs_it(
    servers: dict[str, KubeApiserver], tmp_path: Path
) -> None:
    draw, prefix = random.Random(1), f"file://{tmp_path}/metadata"
    settings = {
        "PROPELLER_ROUTING__FILE": str(routes(servers[EDGE], tmp_path)),
        "PROPELLER_SHARDS__CLUSTERS": f'["{EDGE}"]',
    }
    async with (
        connect(servers[HOME].connection()) as client,
        connect(servers[EDGE].connection()) as edge,
        Storage(StorageOptions(metadata_prefix=prefix)) as storage,
    ):
        await prepare(client)
        await client.create(NAMESPACES, {"metadata": {"name": LEASES}})
        await edge.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        kubeconfig = servers[HOME].kubeconfig(tmp_path / HOME)
        world = World(client, tmp_path, kubeconfig, shards=SHARDS, settings=settings)
        ledger = Ledger(client, NAMESPACE, lambda: draw.uniform(0, 0.5), others=[edge])
        async with ledger.running(), asyncio.TaskGroup() as group, world.controller("1"):
            await world.settled()
            group.create_task(world.flood())

            assert (await world.rollout("start", "--to", "2")).startswith("0: 2 over 1: baking, stage 1 of ")
            async with world.controller("2", str(BAD_VERSION)):
                ever, state = await watched(world, "2")
                assert state is State.ABORTED
                assert ever == {SHARDS - 1}
                assert "2 over 1: aborted: 2 is worse: failed reconciles" in await world.rollout("status")
                await world.settled("1")
            assert (await made_by_the_bad_version(edge))[True]
            assert not (await made_by_the_bad_version(client))[True]

            async with world.controller("3"):
                await asyncio.sleep(0.5)
                assert (await world.rollout("start", "--to", "3")).startswith("0: 3 over 1: baking")
                await world.settled("3", 1)
                assert f"it is to run the executions of {EDGE}" in await world.rollout("status")
                assert (await world.rollout("promote", "--all")).startswith("0: 3 over 1: promoted")
                await world.settled("3")
                world.enough.set()
                await all_ended(client, world)
        assert [problem async for problem in problems_of(client, storage, ledger, world.created, TASKS)] == []
        placed = Counter([one["status"]["cluster"] for one in (await client.list(FLYTE_WORKFLOWS, NAMESPACE)).items])
        assert placed.keys() == {HOME, EDGE}
