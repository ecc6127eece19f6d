"""What a command says of a cluster that it cannot reach: soon, and about the right one."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from propeller.cli import _connecting
from propeller.cli._connecting import connected
from propeller.config import Settings
from propeller.errors import Unavailable, Untrusted
from propeller.kube import CONFIG_MAPS, Client, Connection, connect
from propeller.kube._transport import Request, unreachable

MOMENT = 0.5
"""Seconds that the commands of these tests wait for an answer."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connecting, "REACH_SECONDS", MOMENT)


def kubeconfig(directory: Path, server: str, user: dict[str, Any] | None = None, proxy: str = "") -> str:
    path = directory / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, "proxy-url": proxy}}],
        "users": [{"name": "u", "user": user or {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


async def failure(path: str, settings: Settings | None = None) -> Unavailable:
    with pytest.raises(Unavailable) as found:
        async with connected(path, None, settings or Settings()):
            pytest.fail("connected to nothing")
    return found.value


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Takes connections, and never answers."""
    open_: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: open_.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_:
            writer.close()


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = await failure(kubeconfig(tmp_path, "https://127.0.0.1:9"))
    assert "https://127.0.0.1:9 cannot be reached" in str(error)
    assert "Errno 111" in str(error)


async def test_a_server_that_never_answers_is_named(tmp_path: Path) -> None:
    async with silent_server() as port:
        error = await failure(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"))
    assert f"http://127.0.0.1:{port} did not answer" in str(error)
    assert f"within {MOMENT:g} s" in str(error)


async def test_a_dead_proxy_is_blamed_and_not_the_server(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://cluster.example:6443", proxy="http://somebody:secret@127.0.0.1:9")
    text = str(await failure(path))
    assert "proxy http://127.0.0.1:9 cannot be reached, https://cluster.example:6443 was not asked" in text
    assert "secret" not in text
    assert "object at" not in text


async def test_a_proxy_that_never_answers_is_named_beside_the_server(tmp_path: Path) -> None:
    async with silent_server() as port:
        path = kubeconfig(tmp_path, "https://cluster.example:6443", proxy=f"http://127.0.0.1:{port}")
        assert f"through proxy http://127.0.0.1:{port}" in str(await failure(path))


async def test_a_plugin_that_hangs_is_blamed_and_said_while_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_connecting, "SLOW_SECONDS", 0.5)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}
    user = {"exec": {"command": sys.executable, "args": ["-c", SLEEP], **command}}
    path = kubeconfig(tmp_path, "https://127.0.0.1:9", user)
    settings = Settings()
    settings = msgspec.structs.replace(settings, client=msgspec.structs.replace(settings.client, deadline=2.0))
    text = str(await failure(path, settings))
    assert "the credentials of context 'c'" in text
    assert "https://127.0.0.1:9 was not asked yet" in text
    assert "waiting for the credentials of context 'c' (exec plugin)" in capsys.readouterr().err


SLEEP = "import time; time.sleep(60)"


async def test_a_certificate_that_is_not_trusted_is_not_waited_for() -> None:
    request = Request(method="GET", path="/version")
    error = unreachable("https://s", request, 30, ssl.SSLCertVerificationError("self-signed certificate"))
    assert isinstance(error, Untrusted)

    class Transport:
        asked = 0

        async def send(self, request: Request, *, deadline: float) -> Any:
            self.asked += 1
            raise error

    transport = Transport()
    client = Client(transport)  # type: ignore[arg-type]
    with pytest.raises(Untrusted):
        await client.get(CONFIG_MAPS, "a", "ns")
    with pytest.raises(Untrusted):
        await client.reach(30)
    assert transport.asked == 2


async def test_a_server_that_refuses_us_is_reached() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with connect(Connection(server=url, token="t")) as client:
        await client.reach(30)
    server.close()
