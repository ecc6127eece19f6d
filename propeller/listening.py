"""Listen for HTTP from strangers: however many connect, and however slowly they speak, most descriptors stay free.

Guarantees
    At most `connections` are open at once. When one more comes, the one that has waited longest without a whole request
    head makes room, so that a probe or a scrape is always served; the new one is closed if all others are being
    answered.
    A connection is closed if the head of its first request, or of one that it has begun, is not whole after
    `head_seconds`, or has more than `head_bytes`.
    A request that is no HTTP costs no line of the log.
Caveats
    The head's end is searched in the bytes themselves: bytes after it in the same request do not count.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from aiohttp import web

_END = b"\r\n\r\n"


class Guard:
    """The connections of one listener. the server enters `handling` for each request."""

    def __init__(self, *, connections: int, head_bytes: int, head_seconds: float) -> None:
        self._most = connections
        self.head_bytes = head_bytes
        self.head_seconds = head_seconds
        self._open: dict[asyncio.Protocol, _Connection] = {}
        self._waiting: dict[_Connection, None] = {}  # the one that has waited longest first

    @property
    def open(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def listen(
        self, server: web.Server, host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[int]:
        """Accept connections for `server` while the block runs; its value is the port. Raises OSError."""
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, cast(asyncio.Protocol, server())), host, port, ssl=tls
        )
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()

    @contextmanager
    def handling(self, request: web.BaseRequest) -> Iterator[None]:
        """While a request is being answered, its connection makes room for no other."""
        connection = self._open.get(request.protocol)
        if connection is None:
            yield
            return
        self._waiting.pop(connection, None)
        connection.begin()
        try:
            yield
        finally:
            if request.protocol in self._open:
                connection.end()
                self._waiting[connection] = None

    def admit(self, connection: _Connection) -> bool:
        """Whether a new connection may stay, be it for another that goes."""
        if len(self._open) >= self._most:
            if not self._waiting:
                return False
            next(iter(self._waiting)).abort()
        self._open[connection.inner] = connection
        self._waiting[connection] = None
        return True

    def forget(self, connection: _Connection) -> None:
        self._open.pop(connection.inner, None)
        self._waiting.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Hands everything on to aiohttp's protocol, and looks at how a request's head comes."""

    def __init__(self, guard: Guard, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self._guard = guard
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._head = 0
        """Bytes of a head that is not whole."""
        self._tail = b""
        self._whole = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's derive from no class of asyncio
        if not self._guard.admit(self):
            stream.abort()
            return
        self._transport = stream
        self._expect_head()
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if not self._answering and not self._whole:
            if self._timer is None:
                self._expect_head()
            seen = self._tail + data
            end = seen.find(_END)
            self._head += len(data) if end < 0 else end + len(_END) - len(self._tail)
            if self._head > self._guard.head_bytes:
                self.abort()
                return
            self._whole, self._tail = end >= 0, seen[-len(_END) + 1 :]
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self._transport is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._guard.forget(self)
        if self._transport is not None:
            self._transport = None
            self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def begin(self) -> None:
        """A request is being answered."""
        self._answering = True
        self._stop_timer()

    def end(self) -> None:
        """It is answered: the next head may come, when it comes."""
        self._answering, self._whole, self._head, self._tail = False, False, 0, b""

    def abort(self) -> None:
        self._guard.forget(self)
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def _expect_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._guard.head_seconds, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _NoProtocolErrors(logging.Filter):
    """Passes on failures of a handler, but not a stranger's bytes that are no HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        from aiohttp.http_exceptions import HttpProcessingError

        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return not isinstance(error, HttpProcessingError)


protocol_log = logging.getLogger(f"{__name__}.protocol")
"""For aiohttp's protocols: without a traceback for each malformed request."""
protocol_log.addFilter(_NoProtocolErrors())
