"""One HTTP/1.1 connection: exchanges one after the other, parsed by llhttp.

Guarantees
    A connection is used again only when its last answer was read to the end, the server did not ask to close it, and
    nothing came that nobody asked for.
    An answer is whole or it is a failure: a body that is cut, and a head over `HEAD_LIMIT`, never pass for an answer.
    Trailers are read and dropped: what comes after a body does not change what its head said.
    A reader that is slower than the server makes the server wait: at most `BUFFER` bytes and one segment are held.
    What comes on a stream is read at once; on a busy one together with what comes within `TOGETHER_SECONDS`.
Caveats
    A second answer to a request that arrives only after the next request was sent passes for that one's: HTTP/1.1 has
    nothing to tell them apart by. No API server sends one.
Assumptions
    Requests have no Expect header and no upgrade, and there are no HEAD requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Protocol, cast

import httptools

from propeller.errors import Unavailable

HEAD_LIMIT = 64 * 1024
"""Bytes of status line and headers, and of anything else that is no body (chunk extensions, trailers). The API server's
are under 1 KiB."""

BODY_LIMIT = 256 * 1024 * 1024
"""Bytes of an answer that is read whole. A page of 500 objects of etcd's largest size would be three times that."""

BUFFER = 64 * 1024
"""Bytes of a streamed body that wait for their reader before the server is made to wait. They are still in the core's
cache when they are decoded: four times as many cost a tenth more for an event."""

TOGETHER_SECONDS = 0.005
"""Seconds that a busy stream is left alone after a look at it. A look costs a wake-up, a TLS read and a turn of the
loop: network cards moderate their interrupts for the same reason.
"""

FULL_LOOK = 16
"""Pieces that make a look worth its cost: a stream that has so many each time gains nothing by being left alone."""

BUSY_PER_SECOND = 200.0
"""Pieces a second, over a tenth of a second, from which on a stream is busy."""


class Unanswered(Unavailable):
    """The connection was closed before a byte of the answer came: a server may close one that idles at any time."""


class Headers(Mapping[str, str]):
    """Headers as they came, decoded when somebody looks: most answers' are never looked at."""

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._decoded: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._decoded is None:
            self._decoded = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._raw}
        return self._decoded

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __contains__(self, name: object) -> bool:
        """Asked of every answer, about a header that hardly any has: without decoding the others."""
        if self._decoded is None and isinstance(name, str):
            wanted, size = name.encode("latin-1", "replace"), len(name)
            for found, _ in self._raw:  # noqa: SIM110 - a generator costs more than the rest
                if len(found) == size and found.lower() == wanted:
                    return True
            return False
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Exchange(Protocol):
    """Who takes an answer as it comes."""

    def head(self, status: int, headers: Headers) -> None: ...

    def data(self, chunk: bytes) -> bool:
        """False where it is more than can be taken."""

    def end(self) -> None: ...

    def failed(self, error: Unavailable) -> None: ...


class WholeAnswer:
    """An answer that is read to its end. Await `done`."""

    __slots__ = ("_parts", "_size", "done", "headers", "status")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[bytes] = loop.create_future()
        self.status = 0
        self.headers = Headers([])
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def data(self, chunk: bytes) -> bool:
        self._parts.append(chunk)
        self._size += len(chunk)
        return self._size <= BODY_LIMIT

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def failed(self, error: Unavailable) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Pace:
    """When to look at a stream again: at once, or, while it is busy, `TOGETHER_SECONDS` after the last look.

    A leaky bucket of pieces, so that a quiet stream never waits and a burst is over after a tenth of a second.
    """

    __slots__ = ("_level", "_looked")

    def __init__(self, now: float) -> None:
        self._level = 0.0
        self._looked = now

    def look(self, now: float, pieces: int) -> float:
        """So many pieces were found `now`. Returns the seconds to leave the stream alone."""
        left = self._level - (now - self._looked) * BUSY_PER_SECOND
        self._looked = now
        self._level = min(max(left, 0.0) + pieces, BUSY_PER_SECOND * 0.2)
        return TOGETHER_SECONDS if self._level > BUSY_PER_SECOND * 0.1 and pieces < FULL_LOOK else 0.0


class StreamedAnswer:
    """An answer that is read as it comes: await `begun`, then iterate. Implements `_transport.Stream`."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.begun: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: Mapping[str, str] = Headers([])
        self._connection = connection
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Unavailable | None = None
        self._news: asyncio.Future[None] | None = None
        self._pace = Pace(loop.time())
        self._next_look: asyncio.TimerHandle | None = None

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        if not self.begun.done():
            self.begun.set_result(None)

    def data(self, chunk: bytes) -> bool:
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > BUFFER:
            self._connection.pause()
        self._tell()
        return True

    def end(self) -> None:
        self._ended = True
        self._forget_next_look()  # the connection is another's from here on
        self._tell()

    def failed(self, error: Unavailable) -> None:
        self._error = error
        self._forget_next_look()
        if not self.begun.done():
            self.begun.set_exception(error)
        self._tell()

    def _leave_alone(self, seconds: float) -> None:
        if self._next_look is not None:
            return
        if seconds:
            self._connection.pause()
            self._next_look = self._loop.call_later(seconds, self._look)
        else:
            self._connection.resume()

    def _look(self) -> None:
        self._next_look = None
        if self._size <= BUFFER:
            self._connection.resume()

    def _forget_next_look(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._parts:
                chunk = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._leave_alone(self._pace.look(self._loop.time(), len(self._parts)))
                self._parts.clear()
                self._size = 0
                yield chunk
            elif self._error is not None:
                raise self._error
            elif self._ended:
                return
            else:
                self._news = self._loop.create_future()
                await self._news


class Connection(asyncio.Protocol):
    """`released` is called when the connection may be used again, once for each exchange that ends so; `lost` when it
    is closed.
    """

    def __init__(self, server: str, released: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self._server = server
        self._released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._paused = False
        self.idle_since = 0.0
        """Loop time, seconds, at which its last exchange ended; for the pool, as is `retires_at`."""
        self.retires_at = 0.0
        self.certificate = b""
        """The client certificate that it was opened with, if that was obtained."""
        # how far the answer has come
        self._raw_headers: list[tuple[bytes, bytes]]
        self._overhead: int  # bytes received since the last byte of a body
        self._answering: bool
        self._in_body: bool
        self._complete: bool
        self._keep: bool
        self._unasked: bool
        self._too_large: str  # what is, "" for nothing
        self._begin_message()

    @property
    def usable(self) -> bool:
        """Whether it is open and nothing is under way on it."""
        return self._transport is not None and not self._transport.is_closing() and self._exchange is None

    def begin(self, exchange: Exchange, request: bytes) -> None:
        """Send a request; its answer goes to `exchange`. Only where nothing is under way."""
        assert self._exchange is None
        if self._transport is None or self._transport.is_closing():
            exchange.failed(Unanswered(f"{self._server} closed the connection at once"))
            return
        self._exchange = exchange
        self._answering = False
        self._transport.write(request)

    def give_up(self, exchange: Exchange) -> None:
        """End the connection if `exchange` is under way on it. What others have begun on it since is theirs."""
        if self._exchange is exchange:
            self._abort()

    def fail(self, message: str) -> None:
        """End the connection, and what is under way on it with an error."""
        exchange = self._exchange
        self._abort()
        if exchange is not None:
            exchange.failed(Unavailable(message))

    def close(self) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # an answer that came before the request was read: the rest may never leave
        else:
            self._transport.close()

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self._abort()  # nobody asked: a server that is out of step must not answer the next request with it
            return
        self._answering = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self.fail(f"what {self._server} answers is not HTTP/1.1: {error}")
                return
            self._unasked = True  # the answer is whole, and what came after it is not ours
        if self._too_large:
            self.fail(self._too_large)
        elif self._complete:
            self._finish()
        elif self._overhead > HEAD_LIMIT:
            self.fail(self._headers_too_large())

    def eof_received(self) -> bool:
        if self._exchange is not None and self._in_body and not self._framed():
            self._complete = True
            self._keep = False
            self._finish()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        exchange, self._exchange, self._transport = self._exchange, None, None
        self._lost(self)
        if exchange is None:
            return
        why = f": {error}" if error is not None and str(error) else ""
        if self._answering:
            exchange.failed(Unavailable(f"the answer of {self._server} was cut{why}"))
        else:
            exchange.failed(Unanswered(f"{self._server} closed the connection without an answer{why}"))

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._unasked = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body and not self._unasked:
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._exchange is None or self._unasked:
            return
        headers = Headers(self._raw_headers)
        if (
            self._overhead > HEAD_LIMIT
            and sum(len(name) + len(value) for name, value in self._raw_headers) > HEAD_LIMIT
        ):
            self._too_large = self._headers_too_large()  # the body came with it, or it would have been seen before
            return
        self._in_body = True
        self._exchange.head(status, headers)

    def on_body(self, chunk: bytes) -> None:
        self._overhead = 0
        if self._exchange is None or self._unasked or self._too_large:
            return
        if not self._exchange.data(chunk):
            self._too_large = f"an answer of {self._server} is over {BODY_LIMIT} bytes: ask for smaller pages"

    def on_message_complete(self) -> None:
        if self._unasked:
            return
        if self._parser.get_status_code() < 200:
            self._begin_message()  # 100, 103: the answer is still to come
        else:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    def _framed(self) -> bool:
        """Whether the end of the body is known by other means than the end of the connection."""
        return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self._raw_headers)

    def _headers_too_large(self) -> str:
        return f"the headers of an answer of {self._server} are over {HEAD_LIMIT} bytes"

    def _begin_message(self) -> None:
        self._raw_headers = []
        self._overhead = 0
        self._answering = False
        self._in_body = False
        self._complete = False
        self._keep = False
        self._unasked = False
        self._too_large = ""

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        keep = self._keep and not self._unasked
        self._begin_message()
        if keep:
            self.resume()  # a reader that was slow and then left never does
            self._released(self)
        else:
            asyncio.get_running_loop().call_soon(self.close)  # within a callback uvloop's TLS trips over a close
        if exchange is not None:
            exchange.end()

    def _abort(self) -> None:
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()
