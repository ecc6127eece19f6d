"""The front for other processes: who gets in, and what becomes of connections."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer, Front
from propeller.errors import Denied, Invalid, Unavailable
from propeller.kube import CONFIG_MAPS, Client, Connection, connect, load_connection
from tests.unit.server.asking import config_map, names
from tests.unit.server.endpoints.test_pod_logs import LOG, Logs, started


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def front(server: ApiServer) -> AsyncIterator[Front]:
    async with server.serve() as front:
        yield front


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_only_the_token_opens_it_and_health_is_anybodys(front: Front, session: aiohttp.ClientSession) -> None:
    bearer = {"Authorization": f"Bearer {front.token}"}
    for path, headers, status in (
        ("/api/v1/pods", {}, 401),
        ("/api/v1/pods", {"Authorization": "Bearer x"}, 401),
        ("/api/v1/pods", {"Authorization": front.token}, 401),
        ("/api/v1/pods", {"Authorization": "Bearer \u00ff"}, 401),
        (f"/{front.token}x/api/v1/pods", {}, 401),
        ("/wrong/api/v1/pods", {}, 401),
        ("/api/v1/pods", bearer, 200),
        (f"/{front.token}/api/v1/pods", {}, 200),
        ("/healthz", {}, 200),
        ("/readyz?verbose", {}, 200),
        ("/livez", {"Authorization": "Bearer x"}, 200),
        ("/nowhere", bearer, 404),
    ):
        async with session.get(front.url + path, headers=headers) as answer:
            assert answer.status == status, (path, headers)
            if status == 401:
                assert (await answer.json())["kind"] == "Status"


async def test_the_token_is_random_unless_it_is_given_and_never_shown(server: ApiServer) -> None:
    async with server.serve() as one, server.serve() as other, server.serve(token="chosen") as third:
        assert one.token != other.token
        assert len(one.token) >= 32
        assert third.token == "chosen"
        assert one.token not in repr(one)


async def test_a_taken_port_is_one_clear_error(server: ApiServer, front: Front) -> None:
    port = int(front.url.rpartition(":")[2])
    with pytest.raises(Invalid, match=f"port {port} on 127.0.0.1 is in use"):
        async with server.serve(port=port):
            pass


async def test_an_address_that_is_not_ours_is_one_clear_error(server: ApiServer) -> None:
    with pytest.raises(Invalid, match=r"cannot listen on 192\.0\.2\.1"):
        async with server.serve(host="192.0.2.1"):
            pass


async def test_the_port_is_free_again_when_the_front_is_left(server: ApiServer) -> None:
    async with server.serve() as front:
        port = int(front.url.rpartition(":")[2])
    async with server.serve(port=port):
        pass


async def test_a_kubeconfig_leads_to_it(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(front.kubeconfig("other")))
    connection = load_connection(str(path))
    assert connection.namespace == "other"
    async with connect(connection) as client:
        await client.create(CONFIG_MAPS, config_map("c"), "default")
        assert await names(client, CONFIG_MAPS) == ["c"]


async def test_a_wrong_token_is_denied(front: Front) -> None:
    async with connect(Connection(server=front.url, token="wrong")) as client:
        with pytest.raises(Denied):
            await client.list(CONFIG_MAPS, "default")


async def test_a_dropped_watch_breaks_at_its_reader(server: ApiServer, front: Front) -> None:
    async with connect(Connection(server=front.url, token=front.token)) as client:
        await client.create(CONFIG_MAPS, config_map("c"), "default")
        watch = client.watch(CONFIG_MAPS, "default", resource_version="0")
        await anext(watch)
        server.drop_watches()
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                await anext(watch)


async def test_a_client_that_is_gone_when_an_event_is_written_ends_its_watch_and_is_no_defect(
    server: ApiServer, front: Front, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def write(response: web.StreamResponse, data: bytes) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    async with connect(Connection(server=front.url, token=front.token)) as client:
        await client.create(CONFIG_MAPS, config_map("c"), "default")
        monkeypatch.setattr(web.StreamResponse, "write", write)
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                await anext(client.watch(CONFIG_MAPS, "default", resource_version="0"))
    assert "Error handling request" not in caplog.text


async def test_the_front_closes_although_a_watch_is_open(server: ApiServer) -> None:
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(server.serve())
        async with connect(Connection(server=front.url, token=front.token)) as client:
            await client.create(CONFIG_MAPS, config_map("c"), "default")
            watch = client.watch(CONFIG_MAPS, "default", resource_version="0", bookmarks=False)
            await anext(watch)
            async with asyncio.timeout(20):
                await stack.aclose()
                with pytest.raises((Unavailable, StopAsyncIteration)):
                    await anext(watch)


async def test_a_server_that_is_down_resets_connections(server: ApiServer, front: Front) -> None:
    async with aiohttp.ClientSession() as session:
        server.stop()
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{front.url}/{front.token}/api/v1/pods")
        server.start()
        async with session.get(f"{front.url}/{front.token}/api/v1/pods") as answer:
            assert answer.status == 200


async def test_a_body_over_the_limit_is_refused_before_it_is_all_there(
    front: Front, session: aiohttp.ClientSession
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1024 * 1024

    url = f"{front.url}/{front.token}/api/v1/namespaces/default/configmaps"
    async with session.post(url, data=endless()) as answer:
        assert answer.status == 413
        assert (await answer.json())["reason"] == "RequestEntityTooLarge"


async def test_a_followed_log_comes_line_by_line(
    server: ApiServer, front: Front, session: aiohttp.ClientSession
) -> None:
    server.logs = Logs()
    await started(Client(server.transport()), "main")
    async with session.get(f"{front.url}/{front.token}{LOG}", params={"follow": "true"}) as answer:
        async with asyncio.timeout(20):
            first = await answer.content.readline()
        assert first == b"line 0\n"


async def test_requests_over_the_limit_get_429_with_retry_after(session: aiohttp.ClientSession) -> None:
    async with ApiServer(ApiServerOptions(max_in_flight=1, retry_after=4)) as server, server.serve() as front:
        server.in_flight = 1
        async with session.get(f"{front.url}/{front.token}/api/v1/pods") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "4")
        server.in_flight = 0


async def test_over_tls_the_token_is_not_in_the_address(server: ApiServer, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with server.serve(tls=context, ca=certificate.read_bytes()) as front:
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(front.kubeconfig()))
        assert front.url.startswith("https://127.0.0.1:")
        assert front.kubeconfig()["clusters"][0]["cluster"]["server"] == front.url
        async with connect(load_connection(str(path))) as client:
            assert await names(client, CONFIG_MAPS) == []
