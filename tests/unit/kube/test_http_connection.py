"""One connection, fed bytes by hand: an exchange ends once, rightly, for any bytes in any chunks."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Unavailable
from propeller.kube._http_connection import HEAD_LIMIT, HttpConnection
from propeller.kube._http_responses import BufferedResponse
from propeller.kube._http_stream import BUSY_PER_SECOND, COALESCE_SECONDS, FULL_READ, ReadCoalescer, StreamingResponse
from tests.unit.kube.raw_server import CHUNKED, END, chunk, http

ANSWERS = {
    "length": (http(b"body"), b"body"),
    "chunked": (CHUNKED + chunk(b"bo") + chunk(b"dy") + END, b"body"),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(b"body"), b"body"),
    "none": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}


class Wire:
    """Stands in for the socket of a connection."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Exchange:
    """An exchange under way on a connection without a network."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.released = 0
        self.connection = HttpConnection("server", self._release, lambda connection: None)
        self.connection.connection_made(cast(Any, self.wire))
        self.begin()

    def begin(self) -> None:
        self.answer = BufferedResponse(asyncio.get_running_loop())
        self.connection.begin(self.answer, b"GET")

    def _release(self, connection: HttpConnection) -> None:
        self.released += 1

    def feed(self, *parts: bytes) -> None:
        for part in parts:
            if not self.wire.closing:
                self.connection.data_received(part)

    def end(self) -> bytes | Unavailable:
        """Lose the connection; returns the result of the exchange."""
        if not self.wire.closing:
            self.connection.eof_received()
        self.connection.connection_lost(None)
        error = self.answer.done.exception()
        if error is None:
            return self.answer.done.result()
        assert isinstance(error, Unavailable)
        return error


def cuts(body: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges) if end > start]


PLACES = st.sets(st.integers(0, 200), max_size=8)


@given(st.sampled_from(sorted(ANSWERS)), PLACES)
async def test_an_answer_is_the_same_however_it_is_cut(kind: str, places: set[int]) -> None:
    sent, body = ANSWERS[kind]
    exchange = Exchange()
    exchange.feed(*cuts(sent, places))
    assert exchange.answer.done.result() == body
    assert (exchange.released, exchange.connection.usable) == (1, True)
    exchange.begin()
    exchange.feed(*cuts(sent, places))
    assert exchange.answer.done.result() == body


@given(st.sampled_from(sorted(ANSWERS)), PLACES, st.integers(0, 200))
async def test_an_answer_that_is_cut_short_never_passes_for_whole(kind: str, places: set[int], kept: int) -> None:
    sent, _ = ANSWERS[kind]
    exchange = Exchange()
    exchange.feed(*cuts(sent[: kept % len(sent)], places))
    assert isinstance(exchange.end(), Unavailable)
    assert exchange.released == 0


@given(
    st.sampled_from(sorted(ANSWERS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    PLACES,
)
async def test_an_answer_that_is_damaged_ends_the_exchange_once_and_raises_nothing(
    kind: str, damages: list[tuple[int, int]], places: set[int]
) -> None:
    damaged = bytearray(ANSWERS[kind][0])
    for place, value in damages:
        damaged[place % len(damaged)] = value
    exchange = Exchange()
    exchange.feed(*cuts(bytes(damaged), places))
    exchange.end()
    assert exchange.released <= 1


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
async def test_noise_is_unavailable(parts: list[bytes]) -> None:
    exchange = Exchange()
    exchange.feed(*parts)
    assert isinstance(exchange.end(), Unavailable)


@given(st.sampled_from(sorted(ANSWERS)), st.sampled_from(sorted(ANSWERS)), PLACES)
async def test_a_second_answer_is_never_taken_for_the_first_or_for_the_next(
    first: str, second: str, places: set[int]
) -> None:
    exchange = Exchange()
    exchange.feed(*cuts(ANSWERS[first][0] + ANSWERS[second][0], places))
    assert exchange.answer.done.result() == ANSWERS[first][1]
    await asyncio.sleep(0)
    assert not exchange.connection.usable


async def test_headers_without_end_are_given_up() -> None:
    exchange = Exchange()
    exchange.feed(b"HTTP/1.1 200 OK\r\n", *[b"x-a: y\r\n" * 1000] * (HEAD_LIMIT // 8000 + 1))
    with pytest.raises(Unavailable, match="the headers of an answer of server are over"):
        await exchange.answer.done


async def test_an_exchange_that_is_begun_on_a_closed_connection_fails_at_once() -> None:
    """Regression: it waited for its deadline, as nothing woke it."""
    exchange = Exchange()
    exchange.feed(http())
    exchange.wire.close()
    exchange.connection.connection_lost(None)
    exchange.begin()
    with pytest.raises(Unavailable, match="closed the connection at once"):
        await exchange.answer.done


async def test_giving_up_one_exchange_leaves_anothers_alone() -> None:
    exchange = Exchange()
    exchange.feed(http())
    first = exchange.answer
    exchange.begin()
    exchange.connection.give_up(first)
    assert not exchange.wire.closing
    exchange.connection.give_up(exchange.answer)
    assert exchange.wire.closing


@given(st.lists(st.floats(1.01 / BUSY_PER_SECOND, 60.0), max_size=50))
async def test_a_quiet_stream_is_never_left_alone(gaps: list[float]) -> None:
    coalescer = ReadCoalescer(now := 0.0)
    for gap in gaps:
        assert coalescer.delay_after(now := now + gap, 1) == 0.0


@given(st.integers(1, FULL_READ - 1), st.floats(0.0, COALESCE_SECONDS / 2))
async def test_a_busy_stream_is_left_alone_until_it_has_been_quiet(pieces: int, gap: float) -> None:
    coalescer = ReadCoalescer(now := 0.0)
    waits = [coalescer.delay_after(now := now + gap, pieces) for _ in range(50)]
    assert waits[-1] == COALESCE_SECONDS
    assert coalescer.delay_after(now + 0.25, 1) == 0.0


@given(st.integers(FULL_READ, 1000))
async def test_a_burst_is_read_as_fast_as_it_comes(pieces: int) -> None:
    """Left alone between looks it cost half as much again."""
    coalescer = ReadCoalescer(now := 0.0)
    assert not any(coalescer.delay_after(now := now + 0.001, pieces) for _ in range(50))


class Followed:
    """A stream that is under way on a connection without a network, and what was read of it."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.exchange.feed(http(b"before"))
        self.answer = StreamingResponse(self.exchange.connection, asyncio.get_running_loop())
        self.exchange.connection.begin(self.answer, b"GET")
        self.exchange.feed(CHUNKED)
        self.chunks: list[bytes] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for found in self.answer:
            self.chunks.append(found)

    async def make_busy(self) -> None:
        for number in range(round(BUSY_PER_SECOND)):
            self.exchange.feed(chunk(b"%d " % number))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def left_alone(self) -> bool:
        return self.exchange.wire.paused


async def test_a_busy_stream_is_looked_at_again_after_a_while_and_loses_nothing() -> None:
    stream = Followed()
    await stream.make_busy()
    assert stream.left_alone()
    await asyncio.sleep(COALESCE_SECONDS * 4)
    assert not stream.left_alone()
    stream.exchange.feed(chunk(b"last"), END)
    await stream.task
    assert b"".join(stream.chunks) == b"".join(b"%d " % number for number in range(round(BUSY_PER_SECOND))) + b"last"


async def test_a_connection_is_reusable_as_soon_as_its_stream_has_ended() -> None:
    stream = Followed()
    await stream.make_busy()
    stream.exchange.feed(END)
    assert not stream.left_alone()
    assert stream.exchange.released == 2
    stream.exchange.begin()
    stream.exchange.connection.pause()  # the next one's own wish
    await asyncio.sleep(COALESCE_SECONDS * 4)
    assert stream.left_alone()
    await stream.task


async def test_a_busy_stream_that_is_cut_says_so_at_once() -> None:
    stream = Followed()
    await stream.make_busy()
    stream.exchange.wire.closing = True
    stream.exchange.connection.connection_lost(None)
    with pytest.raises(Unavailable, match="was cut"):
        await stream.task
