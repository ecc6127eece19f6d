"""Connections of clusters: by file, by Secret, and to the control cluster itself."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from propeller.clock import LoopClock
from propeller.clusters import Connector, control_identity
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, NotFound
from propeller.kube import NAMESPACES, SECRETS, Client, ClientOptions, Connection
from propeller.routing import Access, SecretReference

CONTROL = Connection(server="https://control:6443")
BY_SECRET = Access(secret=SecretReference(namespace="flyte", name="east"))


def _kubeconfig(server: str = "https://east:6443", **user: Any) -> str:
    return yaml.safe_dump(
        {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": user or {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )


def _data(kubeconfig: str) -> dict[str, str]:
    return {"kubeconfig": base64.b64encode(kubeconfig.encode()).decode()}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    clock = LoopClock()
    async with ApiServer(clock=clock, randomness=random.Random(0)) as server:
        client = Client(server.transport(), clock=clock)
        await client.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        yield client


def _connector(client: Client) -> Connector:
    return Connector(client, CONTROL, ClientOptions())


async def _put(client: Client, kubeconfig: str) -> None:
    await client.create(SECRETS, {"metadata": {"name": "east"}, "data": _data(kubeconfig)}, "flyte")


async def test_the_cluster_of_the_workflows_has_no_second_client(client: Client, tmp_path: Path) -> None:
    (tmp_path / "k").write_text(_kubeconfig("https://control:6443"))
    for access in (Access(in_cluster=True), Access(kubeconfig=str(tmp_path / "k"))):
        async with _connector(client).open(access) as found:
            assert found is None


async def test_a_kubeconfig_of_a_secret_is_read_again_once_it_has_changed(client: Client) -> None:
    await _put(client, _kubeconfig())
    connector = _connector(client)
    async with connector.open(BY_SECRET) as found:
        assert found is not None
        assert not await connector.has_changed(BY_SECRET)
        await client.patch(SECRETS, "east", "flyte", body={"data": _data(_kubeconfig(token="renewed"))})
        assert await connector.has_changed(BY_SECRET)


@pytest.mark.parametrize(
    "user", [{"tokenFile": "/etc/passwd"}, {"client-key": "/etc/key"}, {"exec": {"command": "sh", "apiVersion": "v1"}}]
)
async def test_a_secret_names_neither_files_nor_commands_of_the_controllers_machine(
    client: Client, user: dict[str, Any]
) -> None:
    await _put(client, _kubeconfig(**user))
    with pytest.raises(Invalid, match="may name neither files nor commands"):
        async with _connector(client).open(BY_SECRET):
            pass


async def test_a_secret_without_the_key_is_named(client: Client) -> None:
    await client.create(SECRETS, {"metadata": {"name": "east"}, "data": {}}, "flyte")
    with pytest.raises(NotFound, match="Secret flyte/east has no key 'kubeconfig'"):
        async with _connector(client).open(BY_SECRET):
            pass


async def test_no_message_has_what_a_wrong_kubeconfig_says(client: Client) -> None:
    await _put(client, "token: hunter2: {")
    with pytest.raises(Invalid) as raised:
        async with _connector(client).open(BY_SECRET):
            pass
    assert "hunter2" not in str(raised.value)
    assert "Secret flyte/east" in str(raised.value)


async def test_the_control_cluster_is_known_by_its_setting_or_by_its_uid(client: Client) -> None:
    uid = (await client.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
    assert await control_identity(client, "") == uid
    assert await control_identity(client, "prod") == "prod"
