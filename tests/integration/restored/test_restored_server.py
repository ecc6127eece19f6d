"""A real kube-apiserver whose etcd is put back to an earlier copy, under a controller that goes on running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.errors import PropellerError
from propeller.informers import Informer, InformerOptions, key_of
from propeller.kube import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, Raw, connect
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import KubeApiserver, TcpProxy, run_kube_apiserver
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
SUCCEEDED = 3
NS = "restored"
DEADLINE = 90.0
"""Seconds: an API server takes ten to start on a busy machine."""

RESTORED = "the server was restored from an older copy; the cache has what it has"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    """Of this module alone: whoever restores it takes from everybody what they wrote since."""
    with run_kube_apiserver(tmp_path_factory.mktemp("restored")) as found:
        yield found


@pytest.fixture
async def user(server: KubeApiserver) -> AsyncIterator[Client]:
    async with connect(server.connection()) as client:
        with suppress(PropellerError):  # an earlier test of this module has made them
            await client.create(NAMESPACES, {"metadata": {"name": NS}})
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await until(lambda: served(client))
        yield client


async def served(client: Client) -> bool:
    try:
        return await client.has_subresource(WORKFLOWS, "status")
    except PropellerError:
        return False


async def until(holds: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await holds():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def controller(server: KubeApiserver, url: str = "") -> AsyncIterator[WorkflowController]:
    chosen = Settings(storage=StorageOptions(metadata_prefix="memory://m"), informers=InformerOptions(backoff_cap=2.0))
    async with (
        connect(server.connection(server=url)) as client,
        Storage(chosen.storage, stores={"memory": MemoryStore()}) as storage,
        WorkflowController(client, storage, chosen, namespace=NS).running() as found,
    ):
        yield found


async def create_workflow(client: Client, name: str) -> None:
    body = {"metadata": {"name": name}, "spec": graph(task("a"), task("b"), edges=[("a", "b")]), "tasks": {"t": TASK}}
    await client.create(WORKFLOWS, body, NS)


async def phase(client: Client, name: str) -> int:
    found: int = (await client.get(WORKFLOWS, name, NS)).get("status", {}).get("phase", 0)
    return found


async def pods(client: Client) -> set[str]:
    return {pod["metadata"]["name"] for pod in (await client.list(RAW_PODS, NS)).items}


async def succeed(client: Client) -> None:
    """Every pod that is there ends well, as a kubelet would say."""
    for pod in (await client.list(RAW_PODS, NS)).items:
        if pod["status"].get("phase") != "Succeeded":
            name = pod["metadata"]["name"]
            await client.patch(RAW_PODS, name, NS, body={"status": {"phase": "Succeeded"}}, subresource="status")


async def run_to_the_end(client: Client, *names: str) -> None:
    async def ended() -> bool:
        await succeed(client)
        return all([await phase(client, name) == SUCCEEDED for name in names])

    await until(ended)


def equals(informer: Informer[Raw], client: Client) -> Any:
    async def holds() -> bool:
        page = await client.list(CONFIG_MAPS, NS)
        return {key_of(one): one for one in page.items} == {key_of(one): one for one in informer.store}

    return lambda: holds()


async def test_after_a_restore_the_controller_goes_on_and_says_so_once_a_cache(
    server: KubeApiserver, user: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: watches resumed at versions from before, were silent, and executions stayed where they were."""
    async with controller(server):
        for name in ("w1", "w2"):
            await create_workflow(user, name)
        await until(lambda: has_pods(user, "w1-a-0", "w2-a-0"))
        server.spawn_copied(tmp_path / "copy")
        await asyncio.to_thread(server.wait)
        await run_to_the_end(user, "w1", "w2")
        await create_workflow(user, "lost")
        await until(lambda: has_pods(user, "lost-a-0"))
        with caplog.at_level(logging.INFO):
            server.spawn_restored(tmp_path / "copy")
            await asyncio.to_thread(server.wait)
            assert await phase(user, "w1") != SUCCEEDED
            assert not {"w1-b-0", "lost-a-0"} & await pods(user)
            await run_to_the_end(user, "w1", "w2")
        said = [record.getMessage() for record in caplog.records if RESTORED in record.getMessage()]
        assert sorted(said) == [f"flyteworkflows: {RESTORED}", f"pods: {RESTORED}"]
        await create_workflow(user, "later")
        await run_to_the_end(user, "later")


async def has_pods(client: Client, *names: str) -> bool:
    return set(names) <= await pods(client)


@pytest.mark.parametrize("overtaken", [False, True], ids=["versions are behind", "versions have overtaken"])
async def test_after_a_restore_that_an_informer_could_not_see_its_cache_is_what_the_server_has(
    server: KubeApiserver, user: Client, tmp_path: Path, overtaken: bool
) -> None:
    """The way to the server is cut for as long as the restore takes, and so many writes that the old versions have been
    given out again, to other objects.
    """
    names = [f"{name}-{overtaken}".lower() for name in ("kept", "changed", "deleted")]
    for name in names:
        await user.create(CONFIG_MAPS, {"metadata": {"name": name}}, NS)
    async with TcpProxy(server.url) as proxy, connect(server.connection(server=proxy.url)) as client:
        informer = Informer(client, CONFIG_MAPS, namespace=NS, settings=InformerOptions(backoff=0.1, backoff_cap=1.0))
        async with informer:
            await informer.wait_for_sync(DEADLINE)
            server.spawn_copied(tmp_path / "copy")
            await asyncio.to_thread(server.wait)
            await user.patch(CONFIG_MAPS, names[1], NS, body={"data": {"when": "before"}})
            await user.delete(CONFIG_MAPS, names[2], NS)
            await until(equals(informer, user))
            await proxy.refuse()
            server.spawn_restored(tmp_path / "copy")
            await asyncio.to_thread(server.wait)
            await user.patch(CONFIG_MAPS, names[0], NS, body={"data": {"when": "after"}})
            while overtaken and int((await user.list(CONFIG_MAPS, NS, limit=1)).resource_version) <= int(
                informer.version
            ):
                await user.create(CONFIG_MAPS, {"metadata": {"generateName": "more-"}}, NS)
            await proxy.listen()
            await until(equals(informer, user))
            assert informer.restores == 1
