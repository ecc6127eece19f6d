"""A new version is tried in the cluster that bakes, on three real API servers: nothing of it comes into the others."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
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
HOME, FAR, EDGE = "home", "far", "edge"
"""The control cluster, which takes executions too; an execution cluster; and another one, which bakes."""

NAMED = (FAR, EDGE)
"""Have shards of their own. The one that bakes is tried first, whatever their order."""

SHARDS = 17 + len(NAMED)
"""Of 16 groups of keys, of workflows without one, and of these clusters."""

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(600)]


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KubeApiserver]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(run_kube_apiserver(tmp_path_factory.mktemp(name))) for name in (HOME, *NAMED)}


def routes(servers: dict[str, KubeApiserver], directory: Path) -> Path:
    far, edge = (servers[name].kubeconfig(directory / name) for name in (FAR, EDGE))
    path = directory / "routes.yaml"
    path.write_text(
        f"""
clusters:
  - {{name: {HOME}, connection: {{inCluster: true}}}}
  - {{name: {FAR}, connection: {{kubeconfig: {far}}}}}
  - {{name: {EDGE}, state: bake, connection: {{kubeconfig: {edge}}}}}
pools:
  - {{name: all, clusters: [{HOME}, {FAR}, {EDGE}]}}
rules:
  - {{name: everything, pool: all}}
"""
    )
    return path


async def made_by_the_bad_version(client: Client) -> Counter[bool]:
    """How many pods of a cluster are of that version, and how many are not."""
    pods = [pod async for page in client.pages(PODS, NAMESPACE) for pod in page.items]
    return Counter(MADE_BY.items() <= (pod.metadata.labels or {}).items() for pod in pods)


async def test_a_bad_version_is_caught_in_the_cluster_that_bakes_and_the_others_never_run_it(
    servers: dict[str, KubeApiserver], tmp_path: Path
) -> None:
    draw, prefix = random.Random(1), f"file://{tmp_path}/metadata"
    settings = {
        "PROPELLER_ROUTING__FILE": str(routes(servers, tmp_path)),
        "PROPELLER_SHARDS__CLUSTERS": json.dumps(NAMED),
    }
    async with (
        connect(servers[HOME].connection()) as client,
        connect(servers[FAR].connection()) as far,
        connect(servers[EDGE].connection()) as edge,
        Storage(StorageOptions(metadata_prefix=prefix)) as storage,
    ):
        await prepare(client)
        await client.create(NAMESPACES, {"metadata": {"name": LEASES}})
        for other in (far, edge):
            await other.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        kubeconfig = servers[HOME].kubeconfig(tmp_path / HOME)
        world = World(client, tmp_path, kubeconfig, shards=SHARDS, settings=settings)
        ledger = Ledger(client, NAMESPACE, lambda: draw.uniform(0, 0.5), others=[far, edge])
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
            for other in (client, far):
                made = await made_by_the_bad_version(other)
                assert not made[True]
                assert made[False]

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
        assert placed.keys() == {HOME, FAR, EDGE}
