"""Secrets are planted wherever propeller takes or meets some, all kinds of failures are provoked, and what comes out is
searched: standard streams of commands, logs, messages of errors with those that caused them.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from propeller.cli.__main__ import main
from propeller.cli._connecting import reach_patiently
from propeller.controller import WorkflowController
from propeller.embedded.server import Forward
from propeller.errors import PropellerError
from propeller.kube import PODS, Client, ClientOptions, Request, Response, connect, load_connection
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import LogFormat, Metrics, configure_logs
from propeller.testing import Authority
from tests.integration.secrets.planted import (
    ACCESS_KEY,
    PEM,
    SECRET,
    SIGNED,
    TOKEN,
    all_text_of,
    assert_nothing_came_out,
    closed_port,
    echoing_server,
    kubeconfig,
    plugin,
)
from tests.unit.controller.bench import bench
from tests.unit.kube.raw_server import Peer, http, raw_server
from tests.unit.workflow.drive import task

FORMATS = tuple(str(format_) for format_ in LogFormat)

LIBRARIES = ("asyncio", "aiohttp.client", "aiobotocore", "botocore", "kubernetes_asyncio", "urllib3")

YAML = {
    "a list without an end": f"{{}}: [{SECRET}\nb: {SECRET}",
    "a word after a word": f'token: "{SECRET}" {SECRET}',
    "a colon too many": f"token: {SECRET}: {SECRET}",
    "an alias": f"token: *{SECRET}",
    "a tag": f"token: !{SECRET} x",
    "a quote without an end": f"token: '{SECRET}",
    "a number that is none": f"token: !!int {SECRET}",
    "a day that is none": "token: 2026-13-45",
    "a control character": f"token: {SECRET}\x01",
    "no mapping": SECRET,
}


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "propeller", *LIBRARIES)]
    levels, handlers = [logger.level for logger in loggers], loggers[0].handlers[:]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def planted_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> io.StringIO:
    """All logs, of libraries too that somebody has set to DEBUG."""
    stream = io.StringIO()
    configure_logs("debug", LogFormat(getattr(request, "param", "human")), stream)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
    return stream


def said_by(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int | None = None
) -> str:
    """All that a command writes. It must fail, as it is meant to."""
    monkeypatch.setattr(sys, "argv", ["propeller", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    assert ended.value.code == code if code is not None else ended.value.code
    assert captured.err
    return captured.out + captured.err


def controller(path: str, format_: str) -> list[str]:
    options = ["--no-elect", "--metrics-port", "0", "--log-level", "debug", "--log-format", format_]
    return ["controller", "--kubeconfig", path, *options]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("status", [401, 403, 422])
def test_commands_do_not_say_what_a_server_echoes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int, format_: str
) -> None:
    with echoing_server(status) as url:
        path = kubeconfig(tmp_path, url)
        for arguments in (controller(path, format_), ["status", "e", "--kubeconfig", path]):
            said = said_by(capfd, monkeypatch, *arguments, code=3)
            assert "refused: " in said
            assert_nothing_came_out(said)


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
@pytest.mark.parametrize("which", ["kubeconfig", "settings"])
def test_a_file_that_does_not_parse_is_not_quoted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, which: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    option = "--kubeconfig" if which == "kubeconfig" else "--config"
    said = said_by(capfd, monkeypatch, "status", "e", option, str(path), code=2)
    assert str(path) in said
    assert_nothing_came_out(said)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", f"token = {SECRET}"),
        ("s.toml", f'token = "{SECRET}'),
        ("s.toml", f'[storage]\ns3_secret = "{SECRET}"'),
        ("s.yaml", f"unknown: {SECRET}"),
        ("s.yaml", f"storage: {SECRET}"),
        ("s.yaml", f"storage: {{deadline: {SECRET}}}"),
        ("s.yaml", f"pods: {{environment: [{SECRET}]}}"),
    ],
)
def test_a_setting_that_is_wrong_is_named_without_its_value(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert_nothing_came_out(said_by(capfd, monkeypatch, "controller", "--config", str(path), code=2))


URLS = {
    "with a scheme": "http://me:{secret}@127.0.0.1:{port}",
    "without a scheme": "me:{secret}@127.0.0.1:{port}",
    "with a slash in the password": "http://me:a/{secret}@127.0.0.1:{port}",
    "with an at sign in the password": "http://me:a@{secret}@127.0.0.1:{port}",
    "of another scheme": "socks5://me:{secret}@127.0.0.1:{port}",
    "with a signature": "http://127.0.0.1:{port}/?sig={secret}",
    "with a bare query": "ftp://127.0.0.1:{port}/?{secret}",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
@pytest.mark.parametrize("place", ["server", "proxy-url", "s3_endpoint"])
async def test_urls_are_shown_without_user_and_query(
    tmp_path: Path, logs: io.StringIO, caplog: pytest.LogCaptureFixture, url: str, place: str
) -> None:
    address = url.format(secret=SECRET, port=closed_port())
    cluster = {"proxy-url": address} if place == "proxy-url" else {}
    path = kubeconfig(tmp_path, address if place == "server" else "https://127.0.0.1:1", cluster=cluster)
    with pytest.raises(PropellerError) as raised:
        await (read_from(address) if place == "s3_endpoint" else reach(path, deadline=0.3))
    assert "127.0.0.1" in str(raised.value)
    assert_nothing_came_out(all_text_of(raised.value) + logs.getvalue())


async def reach(path: str, deadline: float = 30.0) -> None:
    """One request, to the server of a kubeconfig."""
    async with connect(load_connection(path), ClientOptions(deadline=deadline)) as client:
        await client.get(PODS, "p", "ns")


async def read_from(endpoint: str) -> None:
    async with Storage(StorageOptions(s3_endpoint=endpoint)) as storage:
        await storage.read("s3://bucket/key")


@pytest.mark.parametrize("kubernetes", [True, False], ids=["a Status", "plain text"])
@pytest.mark.parametrize("status", [302, 401, 403, 404, 409, 422, 429, 500])
async def test_errors_of_a_server_that_echoes_hold_no_secret(
    tmp_path: Path, logs: io.StringIO, status: int, *, kubernetes: bool
) -> None:
    with echoing_server(status, kubernetes=kubernetes) as url:
        connection = load_connection(kubeconfig(tmp_path, url.replace("://", f"://me:{SECRET}@")))
        connection = msgspec.structs.replace(connection, token=TOKEN)  # over plain http a kubeconfig's is not sent
        async with connect(connection, ClientOptions(deadline=0.3)) as client:
            for call in (client.get(PODS, "p", "ns"), client.list(PODS, "ns"), client.delete(PODS, "p", "ns")):
                try:
                    await call
                except PropellerError as error:
                    logging.getLogger("propeller.test").warning("it failed", exc_info=error)
                    assert_nothing_came_out(all_text_of(error))
    assert "it failed" in logs.getvalue()
    assert_nothing_came_out(logs.getvalue() + repr(connection))


@pytest.mark.parametrize("status", [401, 407, 502])
async def test_a_proxy_that_refuses_and_echoes_is_shown_without_its_password(
    tmp_path: Path, logs: io.StringIO, status: int
) -> None:
    with echoing_server(status, kubernetes=False) as url:
        proxy = {"proxy-url": url.replace("://", f"://me:{SECRET}@")}
        for server in ("https://127.0.0.1:1", "http://127.0.0.1:1"):
            with pytest.raises(PropellerError) as raised:
                await reach(kubeconfig(tmp_path, server, cluster=proxy), deadline=0.3)
            logging.getLogger("propeller.test").warning("it failed", exc_info=raised.value)
            assert_nothing_came_out(all_text_of(raised.value))
    assert "it failed" in logs.getvalue()
    assert_nothing_came_out(logs.getvalue())


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
async def test_a_proxy_is_still_told_user_and_password(tmp_path: Path, server: str) -> None:
    heads: list[bytes] = []

    async def refuse(peer: Peer) -> None:
        if request := await peer.request():
            heads.append(request.lower())
            await peer.send(http(status="403 Forbidden"))

    async with raw_server(refuse) as proxy:
        address = proxy.url.replace("://", f"://m%40e:{SECRET}@")
        with pytest.raises(PropellerError):
            await reach(kubeconfig(tmp_path, server, cluster={"proxy-url": address}), deadline=0.5)
    credentials = base64.b64encode(f"m@e:{SECRET}".encode())
    assert b"\r\nproxy-authorization: basic " + credentials.lower() in heads[0]
    assert heads[0].count(b"basic") == 1


PLUGINS = {
    "speaks of its token": f"echo 'token: {SECRET}' >&2; exit 1",
    "shows a request": f"echo 'POST {SIGNED}: Authorization: Bearer {TOKEN}' >&2; exit 1",
    "shows a key": f"cat >&2 <<'END'\n{PEM}\nEND\nexit 1",
    "shows a key without an end": f"printf '%s' '{PEM.partition('-----END')[0]}' >&2; exit 1",
    "shows a URL": f"echo 'https://me:{SECRET}@host refused' >&2; exit 1",
    "gives no JSON": f"echo '{SECRET}'",
    "gives half a credential": f"""echo '{{"apiVersion": "client.authentication.k8s.io/v1", "status": "{SECRET}"}}'""",
    "gives a status that is none": (
        f"""echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "E", "status": "{SECRET}"}}'"""
    ),
}


@pytest.mark.parametrize("script", PLUGINS.values(), ids=PLUGINS)
async def test_what_a_plugin_says_is_masked(tmp_path: Path, logs: io.StringIO, script: str) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", user=plugin(tmp_path, script))
    with pytest.raises(PropellerError, match=r"^exec plugin ") as raised:
        await reach(path)
    assert_nothing_came_out(all_text_of(raised.value) + logs.getvalue())


async def test_a_plugin_that_says_much_is_quoted_in_a_line(tmp_path: Path) -> None:
    script = "head -c 200000 /dev/zero | tr '\\0' 'x' >&2; exit 1"
    with pytest.raises(PropellerError) as raised:
        await reach(kubeconfig(tmp_path, "https://127.0.0.1:1", user=plugin(tmp_path, script)))
    assert len(str(raised.value)) < 2000


USERS: dict[str, dict[str, Any]] = {
    "a password": {"username": "me", "password": SECRET},
    "a key that is no base64": {"client-certificate-data": "YQ==", "client-key-data": f"{SECRET}!"},
    "a key without a certificate": {"client-key-data": base64.b64encode(PEM.encode()).decode()},
    "a key that is none": {
        "client-certificate-data": base64.b64encode(PEM.encode()).decode(),
        "client-key-data": base64.b64encode(PEM.encode()).decode(),
    },
    "a key in the place of its path": {"client-certificate-data": "YQ==", "client-key": PEM},
    "a token in the place of its path": {"tokenFile": TOKEN},
    "a token that is a list": {"token": [SECRET]},
    "a token of two lines": {"token": f"{SECRET}\n{SECRET}"},
    "a plugin that is a word": {"exec": SECRET},
    "a plugin whose arguments are a word": {"exec": {"apiVersion": "v1", "command": "x", "args": f"--token={SECRET}"}},
    "a provider": {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET, "refresh-token": SECRET}}},
}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
async def test_credentials_that_cannot_be_used_are_not_shown(
    tmp_path: Path, logs: io.StringIO, user: dict[str, Any]
) -> None:
    with pytest.raises(PropellerError) as raised:
        await reach(kubeconfig(tmp_path, "https://127.0.0.1:1", user=user))
    assert_nothing_came_out(all_text_of(raised.value) + logs.getvalue())


@pytest.mark.parametrize("logs", FORMATS, indirect=True)
@pytest.mark.parametrize("status", [400, 403, 404])
async def test_object_stores_that_refuse_and_libraries_that_say_it_all_show_no_secret(
    logs: io.StringIO, status: int
) -> None:
    with echoing_server(status, kubernetes=False) as url:
        async with Storage(StorageOptions(s3_endpoint=url)) as storage:
            for call in (storage.read("s3://bucket/key"), storage.write("s3://bucket/key", b"x")):
                with pytest.raises(PropellerError) as raised:
                    await call
                logging.getLogger("propeller.test").warning("it failed", exc_info=raised.value)
                assert_nothing_came_out(all_text_of(raised.value))
    assert "it failed" in logs.getvalue()
    assert "x-amz-security-token" in logs.getvalue().lower(), "the libraries do not say what this test is about"
    assert_nothing_came_out(logs.getvalue())


async def test_what_asyncio_says_of_a_lost_task_is_masked(logs: io.StringIO) -> None:
    async def fails() -> None:
        raise ConnectionError(f"Bearer {TOKEN} to https://me:{SECRET}@host")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": task.exception(), "task": task}
    )
    assert "never retrieved" in logs.getvalue()
    assert_nothing_came_out(logs.getvalue())


async def test_a_server_whose_certificate_is_not_trusted_is_shown_without_user_and_path(
    tmp_path: Path, logs: io.StringIO
) -> None:
    pair = Authority(tmp_path).server()
    trusted_by_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted_by_nobody.load_cert_chain(pair.certificate, pair.key)
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=trusted_by_nobody)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        path = kubeconfig(tmp_path, f"https://me:{SECRET}@127.0.0.1:{port}/token/{SECRET}")
        with pytest.raises(PropellerError, match="certificate") as raised:
            await reach(path, deadline=0.5)
    assert_nothing_came_out(all_text_of(raised.value) + logs.getvalue())


@pytest.mark.parametrize("script", [f"echo '{SECRET}'; echo 'token: {SECRET}' >&2; sleep 1000", "sleep 1000"])
async def test_a_plugin_that_hangs_is_given_up_and_nothing_of_what_it_said_is_shown(
    tmp_path: Path, logs: io.StringIO, script: str
) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", user=plugin(tmp_path, script))
    async with connect(load_connection(path), ClientOptions(deadline=1.0)) as client:
        for _ in range(2):  # once it is given up, and once it is not run again yet
            with pytest.raises(PropellerError) as raised:
                await client.get(PODS, "p", "ns")
            assert_nothing_came_out(all_text_of(raised.value))
    assert_nothing_came_out(logs.getvalue())


@pytest.mark.parametrize("server", ["https://cluster.example:6443", "http://cluster.example:6443"])
def test_commands_with_a_proxy_in_the_environment_do_not_show_its_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    with echoing_server(407, kubernetes=False) as url:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, url.replace("://", f"://me:{SECRET}@"))
        path = kubeconfig(tmp_path, server)
        assert_nothing_came_out(said_by(capfd, monkeypatch, "status", "e", "--kubeconfig", path, code=3))


@pytest.mark.parametrize("logs", FORMATS, indirect=True)
async def test_a_controller_that_waits_for_its_server_logs_no_password_of_a_proxy(
    tmp_path: Path, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with echoing_server(407, kubernetes=False) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("://", f"://me:{SECRET}@"))
        connection = load_connection(kubeconfig(tmp_path, "https://cluster.example:6443"))
        async with connect(connection, ClientOptions(reach_deadline=0.1, reach_backoff=0.1)) as client:
            waiting = asyncio.create_task(reach_patiently(client, connection))
            while logs.getvalue().count("asking again") < 2:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
    assert "407" in logs.getvalue()
    assert_nothing_came_out(logs.getvalue())


FLOW = f"""
import flytekit

@flytekit.task
def t() -> int:
    return 1

@flytekit.workflow
def wf() -> int:
    raise ValueError("POST {SIGNED}: Authorization: Bearer {TOKEN}, https://me:{SECRET}@host")
"""


@pytest.mark.parametrize("command", ["run", "compile"])
def test_a_flow_whose_import_fails_with_secrets_in_the_reason_shows_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    pytest.importorskip("flytekit")
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    assert_nothing_came_out(said_by(capfd, monkeypatch, command, str(flow), "wf"))


class _DenyAndSay:
    """Denies pods, and cuts watches, with all that it knows in the reason."""

    def __init__(self, said: str) -> None:
        self._said = said

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and request.path.endswith("/pods"):
            body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": f"pods is forbidden: {self._said}"}
            return Response(status=403, body=json.dumps(body).encode())
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": self._said}
        yield await anext(chunks)
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


async def test_statuses_metrics_and_what_a_watch_ends_with_hold_no_secret(logs: io.StringIO) -> None:
    said = f"refused: Bearer {TOKEN}, token={SECRET}, see {SIGNED}, https://me:{SECRET}@host\n{PEM}"
    metrics = Metrics()
    async with bench(max_lag=0.0) as of:
        client = Client(of.server.transport(interceptor=_DenyAndSay(said)), clock=of.clock)
        running = WorkflowController(client, of.storage, of.settings, clock=of.clock, metrics=metrics).running()
        async with running, asyncio.timeout(60):
            await of.create(task("a"))
            while not (status := await of.status()).get("waits"):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
    assert "forbidden" in status["waits"][0]["reason"]
    snapshot = zstandard.ZstdDecompressor().decompressobj().decompress(base64.b64decode(status["nodes"]))
    assert_nothing_came_out(json.dumps(status) + snapshot.decode(errors="replace"))
    assert_nothing_came_out(metrics.text().decode())
    assert "following failed" in logs.getvalue()
    assert_nothing_came_out(logs.getvalue())
