"""Requests, answers in pieces and cancellations at random, over real sockets, TLS and both event loops."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from propeller.errors import Unavailable
from propeller.kube import Request
from propeller.kube._http import HttpTransport
from propeller.kube._http_stream import BUFFER
from propeller.testing import Authority
from tests.unit.kube.http_answers import cut
from tests.unit.kube.raw_server import CHUNKED, END, Peer, chunk, http, raw_server

LATE = 60.0
"""Seconds. A deadline that no test reaches, on a busy machine neither."""

Run = Callable[[Coroutine[Any, Any, None]], None]
Contexts = tuple[ssl.SSLContext, ssl.SSLContext] | None


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    chosen: Run = request.param
    return chosen


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "TLS"])
def contexts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """The server's and the client's."""
    if not request.param:
        return None
    authority = Authority(tmp_path_factory.mktemp("authority"))
    pair = authority.server()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pair.certificate, pair.key)
    return server, ssl.create_default_context(cadata=authority.pem.decode())


def transport_to(url: str, contexts: Contexts, **options: Any) -> HttpTransport:
    return HttpTransport(url, tls=(lambda _: contexts[1]) if contexts else None, **options)


@pytest.mark.parametrize("seed", range(2))
def test_every_request_gets_its_own_answer_or_an_error(run: Run, contexts: Contexts, seed: int) -> None:
    dice = random.Random(seed)

    async def serve(peer: Peer) -> None:
        while request := await peer.request():
            path = request.split(b" ")[1]
            body = path + b" " * dice.choice([0, 100, 70_000])
            answer = dice.choice(
                [
                    http(body),
                    http(body, connection="close"),
                    CHUNKED + chunk(body) + END,
                    b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(body),
                    http(body) + http(b"/stray"),
                    http(body)[:-5],
                    b"",
                    b"garbage\r\n\r\n" + body,
                ]
            )
            parts = cut(answer, {dice.randrange(len(answer)) for _ in range(dice.choice([0, 3]))} if answer else set())
            await peer.send(*parts, pause=dice.choice([0.0, 0.0, 0.001]))
            if b"connection: close" in answer or not answer or answer.endswith(http(body)[-10:-5]):
                return

    async def main() -> None:
        async with raw_server(serve, tls=contexts and contexts[0]) as server:
            transport = transport_to(server.url, contexts, max_connections=6)

            async def call(number: int) -> bytes:
                request = Request(method=dice.choice(["GET", "POST"]), path=f"/call{number}", body=b"x" * 3000)
                if dice.random() < 0.8:
                    return (await transport.send(request, deadline=LATE)).body
                async with transport.stream(request, deadline=LATE) as stream, asyncio.timeout(LATE):
                    return b"".join([part async for part in stream])

            tasks = [asyncio.create_task(call(number)) for number in range(150)]
            for task in tasks:
                if dice.random() < 0.3:
                    asyncio.get_running_loop().call_later(dice.random() * 0.1, task.cancel)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await transport.close()
        answered = 0
        for number, result in enumerate(results):
            if isinstance(result, bytes):
                answered += 1
                assert result.rstrip() == b"/call%d" % number
            else:
                assert isinstance(result, Unavailable | TimeoutError | asyncio.CancelledError), repr(result)
        assert answered > 20

    run(main())


def test_a_connection_whose_reader_was_slow_serves_the_next_request(run: Run, contexts: Contexts) -> None:

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"".join([chunk(b"x" * 50_000)] * (3 * BUFFER // 50_000)) + END)
        while await peer.request():
            await peer.send(http(b"next"))

    async def main() -> None:
        async with raw_server(serve, tls=contexts and contexts[0]) as server:
            transport = transport_to(server.url, contexts)
            async with transport.stream(Request(method="GET", path="/a"), deadline=LATE) as stream:
                await asyncio.sleep(0.1)
                size = 0
                async for part in stream:
                    size += len(part)
                    await asyncio.sleep(0.01)
                assert size == 3 * BUFFER // 50_000 * 50_000
            for _ in range(3):
                answer = await transport.send(Request(method="GET", path="/b"), deadline=LATE)
                assert answer.body == b"next"
            await transport.close()

    run(main())


def test_a_request_that_is_cancelled_while_its_connection_opens_leaves_neither_noise_nor_a_connection(
    run: Run, contexts: Contexts
) -> None:
    """Regression: uvloop told of a fatal error on the SSL protocol whenever a TLS handshake was cancelled."""
    troubles: list[dict[str, Any]] = []

    async def serve(peer: Peer) -> None:
        while await peer.request():
            await peer.send(http(b"answer"))

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with raw_server(serve, tls=contexts and contexts[0]) as server:
            for number in range(30):
                transport = transport_to(server.url, contexts)
                sending = asyncio.create_task(transport.send(Request(method="GET", path="/"), deadline=LATE))
                await asyncio.sleep(number * 0.0002)
                sending.cancel()
                await asyncio.wait([sending])
                await transport.close()
                await asyncio.sleep(0.01)
                assert not transport._open
                assert not transport._opening

    run(main())
    assert not troubles
