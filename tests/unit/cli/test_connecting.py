"""Messages about an unreachable cluster: soon, and blaming the right part."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import yaml

from propeller.cli._connecting import connected, reach_patiently
from propeller.cli._settings import variable
from propeller.config import Settings
from propeller.errors import Denied, PropellerError, Unavailable, Untrusted
from propeller.kube import CONFIG_MAPS, Client, Connection, connect
from propeller.kube._transport import Request, unreachable
from propeller.testing import run_virtually

MOMENT = 0.5
"""Seconds that the commands of these tests wait for an answer."""


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


def client_settings(**changes: float) -> Settings:
    settings = Settings()
    return msgspec.structs.replace(settings, client=msgspec.structs.replace(settings.client, **changes))


async def failure(path: str, settings: Settings | None = None) -> Unavailable:
    with pytest.raises(Unavailable) as found:
        async with connected(path, None, settings or client_settings(reach_deadline=MOMENT)):
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
    assert "proxy http://127.0.0.1:9 cannot be reached" in text
    assert "https://cluster.example:6443 was not asked: check proxy-url of kubeconfig" in text
    assert "secret" not in text
    assert "object at" not in text


async def test_a_proxy_that_never_answers_is_named_beside_the_server(tmp_path: Path) -> None:
    async with silent_server() as port:
        path = kubeconfig(tmp_path, "https://cluster.example:6443", proxy=f"http://127.0.0.1:{port}")
        assert f"through proxy http://127.0.0.1:{port}" in str(await failure(path))


def plugin(script: str, mode: str = "Never") -> dict[str, Any]:
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "interactiveMode": mode, "command": sys.executable, "args": ["-c", script]}}


HANGS = "import sys, time; print('open https://login.example', file=sys.stderr, flush=True); time.sleep(60)"


async def test_a_hanging_plugin_is_blamed_with_its_last_output_before_the_request_deadline(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:9", plugin(HANGS))
    settings = client_settings(plugin_deadline=1.0, deadline=1000.0)
    text = str(await failure(path, settings))
    assert f"exec plugin {sys.executable!r} of user 'u' of kubeconfig {path}" in text
    assert "(it says: open https://login.example) gave no credentials within 1 s" in text
    assert "https://127.0.0.1:9 was not asked yet" in text
    assert f"If it needs longer, set {variable('client', 'plugin_deadline')}=30" in text


async def test_an_interactive_plugin_is_waited_for_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.isatty", lambda descriptor: True)
    path = kubeconfig(tmp_path, "https://127.0.0.1:9", plugin(HANGS, "IfAvailable"))
    await failure(path, client_settings(plugin_deadline=0.1, deadline=2.0, slow_after=0.5))
    assert "waiting for exec plugin" in capsys.readouterr().err


class Scripted:
    """A client whose server answers after some failures."""

    def __init__(self, *failures: Exception) -> None:
        self.settings = Settings().client
        self.failures = list(failures)

    async def reach(self, deadline: float) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def has_subresource(self, resource: object, subresource: str) -> bool:
        return True


HERE = Connection(server="https://here")


def test_a_controller_waits_for_its_server_with_growing_pauses_and_logs_each_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Scripted(*[Unavailable("https://here cannot be reached")] * 8)

    async def main() -> float:
        await reach_patiently(cast(Client, client), HERE)
        return asyncio.get_running_loop().time()

    with caplog.at_level(logging.WARNING):
        waited = run_virtually(main())
    settings = client.settings
    assert not client.failures
    assert caplog.text.count("https://here cannot be reached; asking again in") == 8
    assert settings.reach_backoff_cap <= waited <= 8 * settings.reach_backoff_cap


@pytest.mark.parametrize("error", [Untrusted("not trusted"), Denied("401", status=401)])
def test_a_controller_does_not_wait_for_permanent_errors(error: PropellerError) -> None:
    with pytest.raises(type(error)):
        run_virtually(reach_patiently(cast(Client, Scripted(error)), HERE))


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
