"""The HTTP client against any bytes at any time: never a wrong response, never a hang, no half-read reuse."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import PropellerError, Unavailable
from propeller.kube._http_connection import HEAD_LIMIT, HttpConnection
from propeller.kube._http_responses import BufferedResponse
from propeller.kube._http_stream import BUFFER, StreamingResponse
from tests.unit.kube.http_answers import Sent, answers, cut
from tests.unit.kube.raw_server import CHUNKED, END, chunk, http
from tests.unit.kube.test_http_connection import Exchange, Wire

PLACES = st.sets(st.integers(0, 500), max_size=12)
STRAYS = st.one_of(answers().map(lambda sent: sent.wire), st.binary(min_size=1, max_size=60))


async def settled(exchange: Exchange) -> None:
    await asyncio.sleep(0)  # a connection that is not kept closes with the loop's next turn


@given(answers(), PLACES)
async def test_a_valid_answer_is_the_same_however_it_is_cut(sent: Sent, places: set[int]) -> None:
    exchange = Exchange()
    exchange.feed(*cut(sent.wire, places))
    if sent.until_close:
        assert not exchange.answer.done.done()
        exchange.connection.eof_received()
    assert exchange.answer.done.result() == sent.body
    assert (exchange.answer.status, dict(exchange.answer.headers)) == (sent.status, sent.headers)
    assert exchange.released == sent.reusable
    await settled(exchange)
    assert exchange.connection.usable == sent.reusable


@given(st.lists(answers(), min_size=2, max_size=5), PLACES)
async def test_answers_on_one_connection_are_each_their_own(sequence: list[Sent], places: set[int]) -> None:
    exchange = Exchange()
    for sent in sequence:
        exchange.feed(*cut(sent.wire, places))
        if not sent.reusable:
            return
        assert (exchange.answer.done.result(), exchange.answer.status) == (sent.body, sent.status)
        assert dict(exchange.answer.headers) == sent.headers
        exchange.begin()


@given(answers(), st.integers(0, 500), PLACES)
async def test_a_valid_answer_that_is_cut_short_is_unavailable(sent: Sent, kept: int, places: set[int]) -> None:
    """Where the end of the connection is the end of the body, what was cut cannot be known: only a head can be."""
    exchange = Exchange()
    kept %= sent.head if sent.until_close else len(sent.wire)
    exchange.feed(*cut(sent.wire[:kept], places))
    assert isinstance(exchange.end(), Unavailable)
    assert exchange.released == 0


@given(answers(), STRAYS, PLACES)
async def test_bytes_after_a_response_belong_neither_to_it_nor_to_the_next(
    sent: Sent, stray: bytes, places: set[int]
) -> None:
    if sent.until_close or not stray.strip(b"\r\n"):
        return  # there, everything is body; and empty lines between answers are nothing (RFC 9112, 2.2)
    exchange = Exchange()
    exchange.feed(*cut(sent.wire + stray, places))
    assert (exchange.answer.done.result(), exchange.answer.status) == (sent.body, sent.status)
    assert dict(exchange.answer.headers) == sent.headers
    await settled(exchange)
    assert not exchange.connection.usable


@given(st.lists(st.one_of(st.binary(max_size=60), answers().map(lambda sent: sent.wire)), max_size=4), PLACES)
async def test_any_bytes_end_an_exchange_once_with_an_answer_or_an_error_of_ours(
    parts: list[bytes], places: set[int]
) -> None:
    exchange = Exchange()
    exchange.feed(*cut(b"".join(parts), places))
    result = exchange.end()
    assert isinstance(result, bytes | PropellerError)
    assert exchange.released <= 1
    if isinstance(result, PropellerError):
        assert not exchange.connection.usable


@given(answers(), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=4), PLACES)
async def test_a_damaged_answer_raises_nothing_but_ours(
    sent: Sent, damages: list[tuple[int, int]], places: set[int]
) -> None:
    damaged = bytearray(sent.wire)
    for place, value in damages:
        damaged[place % len(damaged)] = value
    exchange = Exchange()
    exchange.feed(*cut(bytes(damaged), places))
    assert isinstance(exchange.end(), bytes | PropellerError)
    await settled(exchange)
    assert not exchange.connection.usable or exchange.released == 1


class Streaming(Exchange):
    """The same for an answer that is read as it comes."""

    streamed: StreamingResponse

    def begin(self) -> None:
        self.streamed = StreamingResponse(self.connection, asyncio.get_running_loop())
        self.connection.begin(self.streamed, b"GET")

    async def read(self) -> bytes:
        return b"".join([part async for part in self.streamed])


@given(answers(), PLACES, st.sets(st.integers(0, 12)))
async def test_a_stream_has_the_same_bytes_however_they_are_cut_and_read(
    sent: Sent, places: set[int], pauses: set[int]
) -> None:
    exchange = Streaming()
    reading = asyncio.create_task(exchange.read())
    for number, part in enumerate(cut(sent.wire, places)):
        exchange.feed(part)
        if number in pauses:
            await asyncio.sleep(0)
    if sent.until_close:
        exchange.connection.eof_received()
    assert await reading == sent.body
    assert (exchange.streamed.status, dict(exchange.streamed.headers)) == (sent.status, sent.headers)
    assert exchange.released == sent.reusable


@given(answers(), st.integers(0, 500), PLACES)
async def test_a_stream_that_is_cut_short_never_ends_as_if_it_were_whole(
    sent: Sent, kept: int, places: set[int]
) -> None:
    exchange = Streaming()
    kept %= sent.head if sent.until_close else len(sent.wire)
    reading = asyncio.create_task(exchange.read())
    exchange.feed(*cut(sent.wire[:kept], places))
    exchange.connection.connection_lost(None)
    with pytest.raises(Unavailable):
        await reading
    assert exchange.streamed.begun.done()
    exchange.streamed.begun.exception()


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("filler", [b"x-a: y\r\n" * (HEAD_LIMIT // 4), b"x-a: " + b"y" * (HEAD_LIMIT + 9) + b"\r\n"])
async def test_a_huge_head_never_passes_for_an_answer(filler: bytes, at_once: bool) -> None:
    """Regression: one that came in the same segment as its body did."""
    exchange = Exchange()
    whole = b"HTTP/1.1 200 OK\r\n" + filler + b"content-length: 2\r\n\r\n{}"
    exchange.feed(*([whole] if at_once else cut(whole, set(range(0, len(whole), 1000)))))
    assert exchange.wire.closing
    with pytest.raises(Unavailable, match="headers of an answer of server are over"):
        await exchange.answer.done


@pytest.mark.parametrize(
    "endless",
    [b"x-a: y\r\n" * 100, b"x" * 1000],
    ids=["trailers", "one trailer"],
)
async def test_trailers_without_end_are_given_up(endless: bytes) -> None:
    """Regression: they were kept without a bound, for a stream has no deadline."""
    exchange = Exchange()
    exchange.feed(CHUNKED, chunk(b"body"), b"0\r\n", *[endless] * (HEAD_LIMIT // len(endless) + 2))
    assert exchange.wire.closing
    with pytest.raises(Unavailable, match="are over"):
        await exchange.answer.done


async def test_a_chunk_extension_without_end_is_given_up() -> None:
    exchange = Exchange()
    exchange.feed(CHUNKED, b"4;", *[b"a" * 1000] * (HEAD_LIMIT // 1000 + 2))
    with pytest.raises(Unavailable, match="are over"):
        await exchange.answer.done


async def test_trailers_do_not_change_the_headers() -> None:
    """Regression: `retry-after` in a trailer passed for one in the head."""
    exchange = Exchange()
    exchange.feed(CHUNKED + chunk(b"body") + b"0\r\nretry-after: 9\r\n\r\n")
    assert (exchange.answer.done.result(), dict(exchange.answer.headers)) == (b"body", {"transfer-encoding": "chunked"})


async def test_a_connection_whose_reader_left_in_mid_buffer_is_read_again_by_the_next() -> None:
    """Regression: it stayed paused in the pool, and the next request on it waited for its deadline."""
    exchange = Streaming()
    exchange.feed(CHUNKED + chunk(b"x" * (BUFFER + 1)), END)
    assert exchange.released == 1
    assert not exchange.wire.paused


@given(st.binary(min_size=1, max_size=200))
async def test_bytes_on_an_idle_connection_end_it(noise: bytes) -> None:
    exchange = Exchange()
    exchange.feed(http())
    exchange.connection.data_received(noise)
    assert not exchange.connection.usable


async def test_a_request_that_the_server_does_not_read_to_its_end_does_not_keep_its_connection_open() -> None:
    """Regression: closing waited for the rest of the request to be sent, for ever."""
    aborted: list[bool] = []

    class Full(Wire):
        def get_write_buffer_size(self) -> int:
            return 100_000

        def abort(self) -> None:
            aborted.append(True)
            self.closing = True

    connection = HttpConnection("server", lambda connection: None, lambda connection: None)
    connection.connection_made(cast(Any, Full()))
    answer = BufferedResponse(asyncio.get_running_loop())
    connection.begin(answer, b"POST")
    connection.data_received(http(b"no", "413 Too Large", connection="close"))
    assert answer.done.result() == b"no"
    await asyncio.sleep(0)
    assert aborted
