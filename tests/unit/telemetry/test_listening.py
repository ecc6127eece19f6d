"""However many connect, and however slowly they speak, a probe is answered and descriptors stay free."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer
from propeller.telemetry import Metrics, MetricsOptions, serve_metrics

CONNECTIONS = 8
SLOW = b"GET /healthz HTTP/1.1\r\nX: "
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def metrics(head_seconds: float = 3600.0) -> AsyncIterator[int]:
    settings = MetricsOptions(connections=CONNECTIONS, head_seconds=head_seconds, head_bytes=4096)
    async with serve_metrics(Metrics(), settings=settings) as port:
        yield port


@asynccontextmanager
async def api_server() -> AsyncIterator[int]:
    async with ApiServer(ApiServerOptions(connections=CONNECTIONS)) as server, server.serve() as front:
        yield int(front.url.rpartition(":")[2])


FRONTS = pytest.mark.parametrize("front", [metrics, api_server])


async def ask(port: int, request: bytes = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side closes the connection; hang if it does not."""
    with contextlib.suppress(ConnectionError):
        await reader.read()
    return True


@FRONTS
async def test_a_probe_is_answered_however_many_send_a_head_without_end(
    front: Callable[[], contextlib.AbstractAsyncContextManager[int]],
) -> None:
    async with front() as port:
        slow = []
        for _ in range(5 * CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(SLOW)
            slow.append((reader, writer))
        for _ in range(3):
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        for reader, _ in slow[: 4 * CONNECTIONS]:
            assert await is_closed(reader), "the oldest make room"
        for _, writer in slow:
            writer.close()


@FRONTS
def test_a_probe_is_answered_on_the_loop_of_the_commands_too(
    front: Callable[[], contextlib.AbstractAsyncContextManager[int]],
) -> None:
    async def probed() -> bytes:
        async with front() as port:
            return await ask(port)

    assert uvloop.run(probed()).startswith(b"HTTP/1.1 200 OK")


async def test_a_head_that_does_not_come_in_time_ends_its_connection() -> None:
    async with metrics(head_seconds=0.05) as port:
        for begin in (b"", SLOW):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begin)
            assert await is_closed(reader)
            writer.close()


@FRONTS
@pytest.mark.parametrize("line", [b"X: " + b"x" * 1000 + b"\r\n", b"X: 1\r\n"])
async def test_a_head_without_end_ends_its_connection(
    front: Callable[[], contextlib.AbstractAsyncContextManager[int]], line: bytes
) -> None:
    async with front() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = 0
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            while not writer.is_closing() and sent < 1_000_000:
                writer.write(line * 50)
                sent += 50 * len(line)
                await writer.drain()
                await asyncio.sleep(0)
        assert await is_closed(reader)
        writer.close()
        assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")


@FRONTS
async def test_garbage_instead_of_http_is_not_logged(
    front: Callable[[], contextlib.AbstractAsyncContextManager[int]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with front() as port:
            for nonsense in (
                b"\x16\x03\x01\x02",
                b"GET\r\n\r\n",
                b"GET / HTTP/9.9\r\n\r\n",
                b"\x1b[2J\r\n\r\n",
                b"\0" * 99,
            ):
                await ask(port, nonsense + b"\r\n\r\n")
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.DEBUG] == []


async def test_a_connection_to_the_metrics_is_for_one_request() -> None:
    async with metrics() as port:
        answer = await ask(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.endswith(b"ok\n")


async def test_the_reason_of_a_probe_is_one_bounded_line() -> None:
    reason = "\x1b[2J\n" + "x" * 1_000_000
    async with serve_metrics(Metrics(), live=lambda: reason) as port:
        head, _, body = (await ask(port)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert body.startswith(b"\\x1b[2J\\n")
    assert len(body) < 2000


async def test_the_api_server_keeps_connections_that_are_answered_and_takes_many_requests_on_one() -> None:
    async with ApiServer(ApiServerOptions(connections=2)) as server, server.serve() as front:
        port = int(front.url.rpartition(":")[2])
        path = f"/{front.token}/api/v1/namespaces".encode()  # there are some: the answer begins with the first
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET %s?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(10):
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        assert not reader.at_eof()
        kept_reader, kept = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            kept.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await kept_reader.readuntil(b"ok")
        for one in (writer, kept):
            one.close()
