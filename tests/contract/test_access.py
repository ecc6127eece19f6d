"""Who may, what is served, and how a server says that it is not so."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from propeller.errors import Denied, NotFound, Unavailable
from propeller.kube import CONFIG_MAPS, ClientOptions, Connection, Raw, Request, Resource, connect, load_connection
from propeller.testing import NOBODY_TOKEN, Authority, HttpServerUnderTest, KubeApiserver, ServerUnderTest
from tests.contract.objects import DEADLINE, config_map


async def test_a_token_that_nobody_has_is_unauthorized(http_server: HttpServerUnderTest) -> None:
    async with http_server.connect(token="wrong") as client:
        with pytest.raises(Denied, match="401") as refused:
            await client.list(CONFIG_MAPS, http_server.namespace)
        assert (refused.value.status, refused.value.reason) == (401, "Unauthorized")
        with pytest.raises(Denied, match="401"):
            await client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)


async def test_a_watch_with_a_token_that_nobody_has_is_unauthorized(http_server: HttpServerUnderTest) -> None:
    async with http_server.connect(token="wrong") as client:
        with pytest.raises(Denied, match="401"):
            async for _ in client.watch(CONFIG_MAPS, http_server.namespace, resource_version="1"):
                pass


async def test_who_may_not_is_told_what(real_server: HttpServerUnderTest) -> None:
    """The embedded server has one user, who may do everything: it is asserted on the real one alone."""
    async with real_server.connect(token=NOBODY_TOKEN) as client:
        with pytest.raises(Denied, match='User "nobody" cannot create resource "configmaps"') as refused:
            await client.create(CONFIG_MAPS, config_map("a"), real_server.namespace)
        assert (refused.value.status, refused.value.reason) == (403, "Forbidden")


@pytest.mark.parametrize("group", ["", "apps", "no.such.group"])
async def test_a_type_that_is_not_served_is_not_found(server: ServerUnderTest, group: str) -> None:
    frobs: Resource[Raw] = Resource(group=group, kind="Frob", plural="frobs", type=dict)
    for call in (
        server.client.list(frobs, server.namespace),
        server.client.get(frobs, "a", server.namespace),
        server.client.create(frobs, {"metadata": {"name": "a"}}, server.namespace),
        server.client.has_subresource(frobs, "status"),
    ):
        with pytest.raises(NotFound) as refused:
            await call
        assert refused.value.status == 404


async def test_a_subresource_that_a_type_does_not_have_is_not_found(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    with pytest.raises(NotFound):
        await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={}, subresource="status")


async def test_a_method_that_is_not_served_is_not_allowed(server: ServerUnderTest) -> None:
    request = Request(method="POST", path=CONFIG_MAPS.path(server.namespace, "a"), body=b"{}")
    assert (await server.client.transport.send(request, deadline=20)).status == 405


async def test_the_server_says_its_version_and_health(server: ServerUnderTest) -> None:
    for path, part in (("/version", b"gitVersion"), ("/readyz", b"ok"), ("/livez", b"ok")):
        answer = await server.client.transport.send(Request(method="GET", path=path), deadline=20)
        assert answer.status == 200
        assert part in answer.body


# The embedded server has neither TLS nor several users: what follows is asserted on the real one alone.


async def test_a_client_certificate_says_who_one_is(kube_apiserver: KubeApiserver) -> None:
    pair = kube_apiserver.authority.client("somebody", "system:masters")
    connection = Connection(
        server=kube_apiserver.url,
        ca=kube_apiserver.ca,
        client_certificate=pair.certificate.read_bytes(),
        client_key=pair.key.read_bytes(),
    )
    async with connect(connection) as client:
        await client.list(CONFIG_MAPS, "default")


async def test_a_server_of_another_authority_is_not_trusted(kube_apiserver: KubeApiserver, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    connection = Connection(server=kube_apiserver.url, ca=stranger.pem, token=kube_apiserver.token)
    settings = ClientOptions(deadline=1.0)
    async with connect(connection, settings) as client:
        with pytest.raises(Unavailable, match="certificate that is not trusted"):
            await client.create(CONFIG_MAPS, config_map("a"), "default")


async def test_a_server_may_be_known_by_another_name(kube_apiserver: KubeApiserver) -> None:
    connection = Connection(
        server=kube_apiserver.url,
        ca=kube_apiserver.ca,
        token=kube_apiserver.token,
        tls_server_name="kubernetes.default.svc",
    )
    async with connect(connection) as client:
        await client.list(CONFIG_MAPS, "default")


async def test_a_token_file_that_is_rotated_is_read_again_when_the_old_token_is_refused(
    kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("expired")
    connection = Connection(server=kube_apiserver.url, ca=kube_apiserver.ca, token_file=str(file))
    async with connect(connection) as client:
        with pytest.raises(Denied, match="401"):
            await client.list(CONFIG_MAPS, "default")
        file.write_text(kube_apiserver.token)
        await client.list(CONFIG_MAPS, "default")


async def test_a_kubeconfig_leads_to_the_server(kube_apiserver: KubeApiserver, tmp_path: Path) -> None:
    async with connect(load_connection(str(kube_apiserver.kubeconfig(tmp_path / "config")))) as client:
        await client.list(CONFIG_MAPS, "default")


async def test_a_certificate_that_is_changed_while_the_server_runs_is_verified_anew(
    kube_apiserver: KubeApiserver,
) -> None:
    address = "127.0.0.1", int(kube_apiserver.url.rpartition(":")[2])
    before = await asyncio.to_thread(ssl.get_server_certificate, address)
    async with connect(kube_apiserver.connection()) as client:
        await client.list(CONFIG_MAPS, "default")
        kube_apiserver.authority.server()
        async with asyncio.timeout(DEADLINE):
            while await asyncio.to_thread(ssl.get_server_certificate, address) == before:
                await asyncio.sleep(0.1)
        await client.list(CONFIG_MAPS, "default")
    async with connect(kube_apiserver.connection()) as client:
        await client.list(CONFIG_MAPS, "default")
