"""New versions of the controller on a real API server: a bad one is caught in its first shard, a good one gets all."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from loadtest._killed import NAMESPACE, prepare, problems_of
from loadtest._ledger import Ledger
from propeller.kube import NAMESPACES, connect
from propeller.reconcile.rollouts import State
from propeller.storage import Storage, StorageOptions
from propeller.testing import run_kube_apiserver
from tests.integration.rollouts.world import LEASES, TASKS, World, all_ended, watched

BAD_VERSION = Path(__file__).with_name("bad_version.py")

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(300)]


async def test_a_bad_version_is_caught_in_its_first_shard_and_a_good_one_takes_over(tmp_path: Path) -> None:
    draw = random.Random(1)
    with run_kube_apiserver(tmp_path) as server:
        kubeconfig, prefix = server.kubeconfig(tmp_path / "kubeconfig"), f"file://{tmp_path}/metadata"
        async with connect(server.connection()) as client, Storage(StorageOptions(metadata_prefix=prefix)) as storage:
            await prepare(client)
            await client.create(NAMESPACES, {"metadata": {"name": LEASES}})
            world, ledger = World(client, tmp_path, kubeconfig), Ledger(client, NAMESPACE, lambda: draw.uniform(0, 0.5))
            async with ledger.running(), asyncio.TaskGroup() as group, world.controller("1"):
                await world.settled()
                group.create_task(world.flood())

                assert (await world.rollout("start", "--to", "2")).startswith("0: 2 over 1: baking, stage 1 of 2")
                async with world.controller("2", str(BAD_VERSION)):
                    ever, state = await watched(world, "2")
                    assert state is State.ABORTED
                    assert len(ever) == 1
                    status = await world.rollout("status")
                    assert "2 over 1: aborted: 2 is worse: failed reconciles" in status
                    await world.settled("1")

                async with world.controller("3"):
                    await asyncio.sleep(0.5)
                    assert (await world.rollout("start", "--to", "3", "--wait")).startswith("0: 3 over 1: baking")
                    await world.settled("3")
                    world.enough.set()
                    await all_ended(client, world)
            assert [problem async for problem in problems_of(client, storage, ledger, world.created, TASKS)] == []
