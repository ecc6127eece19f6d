"""New versions of the controller on a real API server: a bad one is caught in its first shard, a good one gets all."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loadtest import workflows
from loadtest._killed import NAMESPACE, prepare, problems_of
from loadtest._ledger import Ledger
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import PropellerError
from propeller.kube import NAMESPACES, Client, connect
from propeller.reconcile.rollouts import State
from propeller.reconcile.shards import GroupView, view_group
from propeller.storage import Storage, StorageOptions
from propeller.testing import run_kube_apiserver

LEASES, GROUP, SHARDS = "flyte", "propeller-controller-shards", 17
BAD_VERSION = Path(__file__).with_name("bad_version.py")
SETTINGS = {
    "PROPELLER_ROLLOUT__STAGES": "[0.06, 0.5]",
    "PROPELLER_ROLLOUT__BAKE": "4.0",
    "PROPELLER_ROLLOUT__LEAST": "5",
    "PROPELLER_ROLLOUT__TOLERANCE": "1000.0",  # of latency nothing can be said on a machine that runs other tests
    "PROPELLER_ELECTION__RETRY": "0.5",
}
TASKS = 2

pytestmark = [pytest.mark.needs("kube-apiserver"), pytest.mark.timeout(300)]


class World:
    """The API server, and workflows that come until `enough` is set."""

    def __init__(self, client: Client, directory: Path, kubeconfig: Path) -> None:
        self.client = client
        self.directory = directory
        self.kubeconfig = kubeconfig
        self.created = 0
        self.enough = asyncio.Event()

    async def flood(self) -> None:
        while not self.enough.is_set():
            (resource,) = workflows.resources(workflows.counting(1, 1), 1, f"w{self.created}-")
            metadata = resource["metadata"] | {"namespace": NAMESPACE}
            await self.client.create(FLYTE_WORKFLOWS, resource | {"metadata": metadata}, NAMESPACE)
            self.created += 1
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def controller(self, version: str, *program: str) -> AsyncIterator[None]:
        command = (
            *(sys.executable, *(program or ("-m", "propeller.cli")), "controller"),
            *("--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE, "--metrics-port", "0"),
            *("--metadata-prefix", f"file://{self.directory}/metadata", "--shards", str(SHARDS - 1)),
            *("--log-level", "error"),
        )
        environment = os.environ | SETTINGS | {"PROPELLER_SHARDS__VERSION": version}
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
        try:
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    async def rollout(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "propeller.cli", "rollout", *arguments, "--kubeconfig", str(self.kubeconfig)),
            env=os.environ | SETTINGS,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return f"{process.returncode}: {output.decode()}"

    async def view(self) -> GroupView | None:
        try:
            return await view_group(self.client, LEASES, GROUP)
        except PropellerError:
            return None

    async def settled(self, version: str = "", shards: int = SHARDS) -> None:
        """Wait until members of `version` hold so many shards, and all are held."""
        while True:
            view = await self.view()
            if view is not None and len(view.map.holders) == SHARDS and len(held(view, version)) == shards:
                return
            await asyncio.sleep(0.1)


def held(view: GroupView, version: str) -> set[int]:
    """The shards of members of that version, of any if it is empty."""
    versions = view.map.versions
    return {shard for shard, name in view.map.holders.items() if not version or versions.get(name) == version}


async def watched(world: World, version: str) -> tuple[set[int], State]:
    """The shards that members of a version held at any time until its rollout was over."""
    ever: set[int] = set()
    while True:
        view = await world.view()
        if view is not None:
            ever |= held(view, version)
            if view.map.rollout is None or view.map.rollout.state.is_over:
                return ever, State.PROMOTED if view.map.rollout is None else view.map.rollout.state
        await asyncio.sleep(0.05)


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


async def all_ended(client: Client, world: World) -> None:
    while True:
        found = [one async for page in client.pages(FLYTE_WORKFLOWS, NAMESPACE) for one in page.items]
        if len(found) == world.created and all(one.get("status", {}).get("phase") == 3 for one in found):
            return
        await asyncio.sleep(0.2)
