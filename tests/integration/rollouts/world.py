"""Controllers of several versions on a real API server, workflows that come meanwhile, and the command."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest import workflows
from loadtest._killed import NAMESPACE
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import PropellerError
from propeller.kube import Client
from propeller.reconcile.rollouts import State
from propeller.reconcile.shards import GroupView, view_group

LEASES, GROUP = "flyte", "propeller-controller-shards"
SETTINGS = {
    "PROPELLER_SHARDS__COUNT": "16",
    "PROPELLER_ROLLOUT__STAGES": "[0.06, 0.5]",
    "PROPELLER_ROLLOUT__BAKE": "4.0",
    "PROPELLER_ROLLOUT__LEAST": "5",
    "PROPELLER_ROLLOUT__TOLERANCE": "1000.0",  # of latency nothing can be said on a machine that runs other tests
    "PROPELLER_ELECTION__RETRY": "0.5",
}
TASKS = 2


class World:
    """The API server, and workflows that come until `enough` is set."""

    def __init__(
        self, client: Client, directory: Path, kubeconfig: Path, *, shards: int = 17, settings: Mapping[str, str] = {}
    ) -> None:
        """`shards` are those of the `settings`, which are environment variables."""
        self.client = client
        self.directory = directory
        self.kubeconfig = kubeconfig
        self.shards = shards
        self.settings = SETTINGS | dict(settings)
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
            *("--metadata-prefix", f"file://{self.directory}/metadata", "--log-level", "error"),
        )
        environment = os.environ | self.settings | {"PROPELLER_SHARDS__VERSION": version}
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
            env=os.environ | self.settings,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return f"{process.returncode}: {output.decode()}"

    async def view(self) -> GroupView | None:
        try:
            return await view_group(self.client, LEASES, GROUP)
        except PropellerError:
            return None

    async def settled(self, version: str = "", shards: int = 0) -> None:
        """Wait until members of `version` hold so many shards (0: all), and all are held."""
        while True:
            view = await self.view()
            wanted = shards or self.shards
            if view is not None and len(view.map.holders) == self.shards and len(held(view, version)) == wanted:
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


async def all_ended(client: Client, world: World) -> None:
    while True:
        found = [one async for page in client.pages(FLYTE_WORKFLOWS, NAMESPACE) for one in page.items]
        if len(found) == world.created and all(one.get("status", {}).get("phase") == 3 for one in found):
            return
        await asyncio.sleep(0.2)
