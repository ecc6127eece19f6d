"""The HTTP transport against a server that behaves like real servers and networks, and worse."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from propeller.errors import PropellerError, Unavailable
from propeller.kube import Request, Transport
from propeller.kube._http import HttpTransport
from propeller.kube._transport import Credential
from tests.unit.kube.raw_server import CHUNKED, END, Peer, Script, chunk, http, raw_server

GET = Request(method="GET", path="/api/v1/pods")
POST = Request(method="POST", path="/api/v1/pods", body=b'{"a":1}')
SOON = 0.15
"""Seconds. A deadline that is reached."""
LATE = 60.0
"""Seconds. One that is not, on a busy machine neither."""

Make = Callable[..., Transport]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes transports, and closes them."""
    made: list[Transport] = []

    def build(url: str, **options: Any) -> Transport:
        transport = HttpTransport(url, **options)
        made.append(transport)
        return transport

    yield build
    for transport in made:
        await transport.close()


def answering(*answers: bytes) -> Script:
    """Each request on a connection gets the next answer."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            if not await peer.request():
                return
            await peer.send(answer)
        await peer.closed()

    return script


async def test_an_answer_comes_back_whole(make: Make) -> None:
    async with raw_server(answering(http(b"body", "418 Teapot", retry_after="3", X_Thing="é"))) as server:
        answer = await make(server.url).send(GET, deadline=LATE)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (418, b"body", "3")


async def test_a_request_is_sent_whole(make: Make) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(http())

    request = Request(
        method="PATCH",
        path="/api/v1/pods/a%2Fb",
        query={"labelSelector": "a in (b,c),d!=é&f", "limit": "5"},
        headers={"content-type": "application/merge-patch+json"},
        body=b'{"a":1}',
    )
    async with raw_server(script) as server:
        await make(server.url + "/prefix/").send(request, deadline=LATE)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    method, target, version = line.split(b" ")
    assert (method, version, body) == (b"PATCH", b"HTTP/1.1", b'{"a":1}')
    path, _, query = target.partition(b"?")
    assert path == b"/prefix/api/v1/pods/a%2Fb"
    assert parse(query) == request.query
    assert {b"content-type: application/merge-patch+json", b"content-length: 7"} <= {h.lower() for h in headers}


def parse(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode(), strict_parsing=True))


async def test_connections_are_used_again(make: Make) -> None:
    async with raw_server(answering(*[http()] * 5)) as server:
        transport = make(server.url)
        for request in (GET, POST, GET, POST, GET):
            await transport.send(request, deadline=LATE)
        assert server.connections == 1


async def test_a_server_that_asks_to_close_is_not_asked_again_on_that_connection(make: Make) -> None:
    async with raw_server(answering(http(connection="close"), http(b"late"))) as server:
        transport = make(server.url)
        for _ in range(2):
            assert (await transport.send(GET, deadline=LATE)).body == b"{}"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (CHUNKED + chunk(b"one") + chunk(b"two") + END, b"onetwo"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + http(b"after"), b"after"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + http(b"after"), b"after"),
    ],
    ids=["chunked", "until close", "204", "304", "100", "103"],
)
async def test_bodies_of_every_framing_are_read(make: Make, answer: bytes, body: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with raw_server(script) as server:
        assert (await make(server.url).send(GET, deadline=LATE)).body == body


async def test_an_answer_that_comes_byte_by_byte_is_the_same(make: Make) -> None:
    whole = CHUNKED + chunk(b"one") + chunk(b"two") + END

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(whole[place : place + 1] for place in range(len(whole))), pause=0.0001)
        await peer.closed()

    async with raw_server(script) as server:
        assert (await make(server.url).send(GET, deadline=LATE)).body == b"onetwo"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-len",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        CHUNKED + chunk(b"one"),
        CHUNKED + b"ffff\r\nhalf",
        CHUNKED + b"nonsense\r\n",
        b"<html>what</html>\r\n\r\n",
        b"\x00\xff\x00\xff",
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "no end", "half a chunk", "no chunk", "html", "noise", "no length"],
)
@pytest.mark.parametrize("request_", [GET, POST], ids=lambda request: request.method)
async def test_an_answer_that_is_cut_or_none_is_unavailable(make: Make, answer: bytes, request_: Request) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with raw_server(script) as server:
        with pytest.raises(Unavailable):
            await make(server.url).send(request_, deadline=LATE)


async def test_a_reset_is_unavailable(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with raw_server(script) as server:
        with pytest.raises(Unavailable):
            await make(server.url).send(POST, deadline=LATE)


async def test_a_write_is_never_sent_twice(make: Make) -> None:
    """A server may close an idle connection just as a request is sent: whether it was seen cannot be known."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(http())
        if request := await peer.request():
            seen.append(request)  # and closes without an answer

    async with raw_server(script) as server:
        transport = make(server.url)
        await transport.send(GET, deadline=LATE)
        with pytest.raises(Unavailable):
            await transport.send(POST, deadline=LATE)
        assert len(seen) == 1


async def test_a_read_on_a_connection_that_died_idle_is_answered_on_another(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(http(b"%d" % peer.number))
        if peer.number == 0:
            await peer.request()  # and closes without an answer

    async with raw_server(script) as server:
        transport = make(server.url)
        assert (await transport.send(GET, deadline=LATE)).body == b"0"
        assert (await transport.send(GET, deadline=LATE)).body == b"1"


async def test_a_refused_connection_is_unavailable_with_the_address(make: Make) -> None:
    async with raw_server(answering()) as server:
        url = server.url
    with pytest.raises(Unavailable, match=f"{url} cannot be reached for GET /api/v1/pods"):
        await make(url).send(GET, deadline=LATE)


async def test_a_name_that_does_not_resolve_is_unavailable(make: Make) -> None:
    with pytest.raises(Unavailable, match=r"http://nobody\.invalid:80"):
        await make("http://nobody.invalid:80").send(GET, deadline=LATE)


async def hang(peer: Peer) -> None:
    await peer.request()
    await peer.closed()


async def drip(peer: Peer) -> None:
    """A slow loris: it always says something, and never all."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    await peer.send(*[b"x"] * 100_000, pause=0.01)


async def drip_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n", *[b"x-a: y\r\n"] * 1_000, pause=0.01)


@pytest.mark.parametrize("script", [hang, drip, drip_head])
async def test_a_deadline_ends_the_exchange_and_its_connection(make: Make, script: Script) -> None:
    async with raw_server(script) as server:
        with pytest.raises(Unavailable, match=r"did not answer GET /api/v1/pods within 0.15 s"):
            await make(server.url).send(GET, deadline=SOON)
        await asyncio.wait_for(server.closed.acquire(), LATE)


@pytest.mark.parametrize("script", [hang, drip])
async def test_a_cancelled_request_closes_its_connection(make: Make, script: Script) -> None:
    async with raw_server(script) as server:
        task = asyncio.create_task(make(server.url).send(GET, deadline=LATE))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.acquire(), LATE)


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_ones(make: Make) -> None:
    too_late = asyncio.Event()

    async def script(peer: Peer) -> None:
        while await peer.request():
            await too_late.wait()
            await peer.send(http(b"%d" % peer.number))

    async with raw_server(script) as server:
        transport = make(server.url)
        with pytest.raises(Unavailable):
            await transport.send(GET, deadline=SOON)
        too_late.set()
        for _ in range(3):
            assert (await transport.send(GET, deadline=LATE)).body == b"1"
            await asyncio.sleep(SOON)


async def test_an_unsolicited_response_is_never_the_response_to_the_next_request(make: Make) -> None:
    """Two answers to one request, in one segment or two: the first is the answer, the connection is not used again."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(http(b"first%d" % peer.number) + http(b"second", "500 No"))
            if peer.number % 2:
                await peer.send(http(b"third", "500 No"))

    async with raw_server(script) as server:
        transport = make(server.url)
        for _ in range(4):
            answer = await transport.send(GET, deadline=LATE)
            assert (answer.status, answer.body[:5]) == (200, b"first")
            await asyncio.sleep(0.02)


async def test_redirects_are_handed_back_not_followed(make: Make) -> None:
    async with raw_server(answering(http(status="302 Found", location="/elsewhere"), http(b"elsewhere"))) as server:
        assert (await make(server.url).send(GET, deadline=LATE)).status == 302


async def test_many_requests_at_once_share_few_connections(make: Make) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await asyncio.sleep(0.001)
            await peer.send(http())

    async with raw_server(script) as server:
        transport = make(server.url, max_connections=4)
        await asyncio.gather(*(transport.send(GET, deadline=LATE) for _ in range(100)))
        if isinstance(transport, HttpTransport):
            assert server.connections <= 4


async def test_a_stream_is_read_as_it_comes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    time = loop.time
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one\n"))
        await step.wait()
        await peer.send(chunk(b"two\n") + END)
        await peer.closed()

    async with raw_server(script) as server, make(server.url).stream(GET, deadline=LATE) as stream:
        assert stream.status == 200
        chunks = aiter(stream)
        assert await anext(chunks) == b"one\n"
        monkeypatch.setattr(loop, "time", lambda: time() + 2 * LATE)  # the deadline is for the head alone
        await asyncio.sleep(0.01)
        step.set()
        assert await anext(chunks) == b"two\n"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


@pytest.mark.parametrize("ending", [b"", b"ffff\r\nhalf"], ids=["between chunks", "in a chunk"])
async def test_a_stream_that_is_cut_raises(make: Make, ending: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one\n") + ending)

    async with raw_server(script) as server, make(server.url).stream(GET, deadline=LATE) as stream:
        with pytest.raises(Unavailable):
            assert b"".join([part async for part in stream]) == b"one\n"


async def test_leaving_a_stream_closes_its_connection(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one\n"))
        await peer.closed()

    async with raw_server(script) as server:
        async with make(server.url).stream(GET, deadline=LATE) as stream:
            assert await anext(aiter(stream)) == b"one\n"
        await asyncio.wait_for(server.closed.acquire(), LATE)


async def test_a_stream_that_does_not_begin_is_given_up(make: Make) -> None:
    async with raw_server(hang) as server:
        with pytest.raises(Unavailable, match=r"within 0.15 s"):
            async with make(server.url).stream(GET, deadline=SOON):
                pass
        await asyncio.wait_for(server.closed.acquire(), LATE)


async def test_an_ended_stream_does_not_disturb_the_next_request_on_its_connection(make: Make) -> None:
    """Regression: leaving the stream aborted the connection, which another request had taken from the pool by then."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one\n") + END)
        while await peer.request():
            await asyncio.sleep(0.05)
            await peer.send(http(b"other"))

    async with raw_server(script) as server:
        transport = make(server.url)
        async with transport.stream(GET, deadline=LATE) as stream:
            assert b"".join([part async for part in stream]) == b"one\n"
            other = asyncio.create_task(transport.send(GET, deadline=LATE))
            await asyncio.sleep(0.02)
        assert (await asyncio.wait_for(other, LATE)).body == b"other"


async def test_a_request_cancelled_as_its_response_arrives_does_not_disturb_the_next_one() -> None:
    """Regression, as above: the cancellation came when the connection was in the pool already."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(http(b"answer"))

    async with raw_server(script) as server:
        transport = HttpTransport(server.url)
        first = asyncio.create_task(transport.send(GET, deadline=LATE))
        while not transport._idle:
            await asyncio.sleep(0)
        first.cancel()  # its answer is there, and it has not been its turn yet
        async with asyncio.timeout(LATE):
            answer = await transport.send(GET, deadline=LATE)
        assert first.cancelled()
        assert (answer.body, server.connections) == (b"answer", 1)
        await transport.close()


async def test_garbage_after_a_whole_answer_does_not_spoil_it() -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(http(b"%d" % peer.number) + b"garbage\r\n\r\n")

    async with raw_server(script) as server:
        transport = HttpTransport(server.url)
        for number in (0, 1):
            assert (await transport.send(GET, deadline=LATE)).body == b"%d" % number
            await asyncio.sleep(0.02)
        await transport.close()


async def test_an_unsolicited_switch_of_protocols_is_unavailable() -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nnoise"
    async with raw_server(answering(upgrade)) as server:
        transport = HttpTransport(server.url)
        with pytest.raises(Unavailable, match=r"is not HTTP/1\.1"):
            await transport.send(GET, deadline=LATE)
        await transport.close()


async def test_a_slow_reader_makes_the_server_wait(make: Make) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(400):
            await peer.send(chunk(b"x" * 65536))
            sent += 65536
        await peer.send(END)
        await peer.closed()

    async with raw_server(script) as server, make(server.url).stream(GET, deadline=LATE) as stream:
        await asyncio.sleep(0.3)
        assert sent < 16 * 2**20  # what the sockets hold, not all of it
        assert sum([len(part) async for part in stream]) == 400 * 65536


async def test_closing_the_transport_fails_requests_in_flight(make: Make) -> None:
    async with raw_server(hang) as server:
        transport = make(server.url)
        sending = asyncio.create_task(transport.send(GET, deadline=LATE))
        await asyncio.sleep(0.05)
        await transport.close()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(sending, LATE)


class Tokens:
    """A token that has to be replaced once."""

    waits_for = ""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.seen: list[str] = []

    async def current(self) -> Credential:
        return Credential(token=self.tokens[0])

    def refused(self, credential: Credential) -> None:
        self.seen.append(credential.token)
        if len(self.tokens) > 1:
            self.tokens.pop(0)


async def check_token(peer: Peer) -> None:
    while request := await peer.request():
        right = b"\r\nauthorization: bearer new\r\n" in request.lower()
        await peer.send(http(b"in") if right else http(b"out", "401 Unauthorized"))


@pytest.mark.parametrize("request_", [GET, POST], ids=lambda request: request.method)
async def test_a_refused_token_is_replaced_and_the_request_sent_again(make: Make, request_: Request) -> None:
    tokens = Tokens("old", "new")
    async with raw_server(check_token) as server:
        answer = await make(server.url, credentials=tokens).send(request_, deadline=LATE)
    assert (answer.status, tokens.seen) == (200, ["old"])


async def test_a_refused_token_is_replaced_for_streams_too(make: Make) -> None:
    async with raw_server(check_token) as server:
        transport = make(server.url, credentials=Tokens("old", "new"))
        async with transport.stream(GET, deadline=LATE) as stream:
            assert (stream.status, b"".join([part async for part in stream])) == (200, b"in")


async def test_a_refused_token_without_a_successor_is_handed_back_as_401_after_one_request(make: Make) -> None:
    tokens = Tokens("wrong")
    async with raw_server(check_token) as server:
        answer = await make(server.url, credentials=tokens).send(GET, deadline=LATE)
    assert (answer.status, answer.body, tokens.seen) == (401, b"out", ["wrong"])


async def test_a_token_that_would_break_the_request_is_refused_here(make: Make) -> None:
    async with raw_server(answering(http())) as server:
        with pytest.raises(PropellerError, match="token"):
            await make(server.url, credentials=Tokens("a\r\nx-evil: 1")).send(GET, deadline=LATE)


async def test_compression_added_by_a_proxy_is_unpacked_and_a_bomb_is_refused(make: Make) -> None:
    for encoded, body in ((gzip.compress(b"body" * 100), b"body" * 100), (gzip.compress(bytes(40_000_000)), None)):
        answer = http(encoded, content_encoding="gzip")
        async with raw_server(answering(answer)) as server:
            if body is None:
                with pytest.raises(Unavailable, match="unfolds to over"):
                    await make(server.url).send(GET, deadline=LATE)
            else:
                assert (await make(server.url).send(GET, deadline=LATE)).body == body
