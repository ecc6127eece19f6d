"""One HTTP/1.1 connection: exchanges one after the other, parsed by llhttp.

Guarantees
    A connection is reused only if its last response was read to the end, the server did not ask to close it, and no
    unsolicited bytes came.
    A response is complete or a failure: a truncated body, and a head over `HEAD_LIMIT`, never pass for a response.
    Trailers are read and dropped: they do not change the head.
Caveats
    A second response to a request that arrives only after the next request was sent passes for that one's: HTTP/1.1
    cannot distinguish them. No API server sends one.
Assumptions
    Requests have no Expect header and no upgrade, and there are no HEAD requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from propeller.errors import Unavailable
from propeller.kube._http_responses import BODY_LIMIT, Exchange, Headers, NoResponse

HEAD_LIMIT = 64 * 1024
"""Bytes of status line and headers, and of anything else that is no body (chunk extensions, trailers). The API server's
are under 1 KiB."""


class HttpConnection(asyncio.Protocol):
    """`released` is called when the connection may be reused, once for each exchange that ends so; `lost` when it is
    closed.

    More than 15 methods: nine of them are callbacks, of asyncio.Protocol and of llhttp.
    """

    def __init__(
        self, server: str, released: Callable[[HttpConnection], None], lost: Callable[[HttpConnection], None]
    ) -> None:
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
        # how far the response has come
        self._raw_headers: list[tuple[bytes, bytes]]
        self._overhead: int  # bytes received since the last byte of a body
        self._answering: bool
        self._in_body: bool
        self._complete: bool
        self._keep: bool
        self._unsolicited: bool
        self._too_large: str  # the message if head or body is over its limit, else ""
        self._begin_message()

    @property
    def usable(self) -> bool:
        """Whether it is open and nothing is under way on it."""
        return self._transport is not None and not self._transport.is_closing() and self._exchange is None

    def begin(self, exchange: Exchange, request: bytes) -> None:
        """Send a request, whose response goes to `exchange`. Only if no other exchange is under way."""
        assert self._exchange is None
        if self._transport is None or self._transport.is_closing():
            exchange.failed(NoResponse(f"{self._server} closed the connection at once"))
            return
        self._exchange = exchange
        self._answering = False
        self._transport.write(request)

    def give_up(self, exchange: Exchange) -> None:
        """Abort the connection if `exchange` is still under way on it; a later exchange is left alone."""
        if self._exchange is exchange:
            self._abort()

    def fail(self, message: str) -> None:
        """Abort the connection, and fail the exchange that is under way on it."""
        exchange = self._exchange
        self._abort()
        if exchange is not None:
            exchange.failed(Unavailable(message))

    def close(self) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # a response that came before the request was read: the rest may never leave
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
            self._abort()  # unsolicited: a server that is out of step must not answer the next request with it
            return
        self._answering = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self.fail(f"what {self._server} answers is not HTTP/1.1: {error}")
                return
            self._unsolicited = True  # the response is complete, and the bytes after it are unsolicited
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
            exchange.failed(NoResponse(f"{self._server} closed the connection without an answer{why}"))

    # llhttp

    def on_message_begin(self) -> None:
        if self._complete:
            self._unsolicited = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body and not self._unsolicited:
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._exchange is None or self._unsolicited:
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
        if self._exchange is None or self._unsolicited or self._too_large:
            return
        if not self._exchange.data(chunk):
            self._too_large = f"an answer of {self._server} is over {BODY_LIMIT} bytes: ask for smaller pages"

    def on_message_complete(self) -> None:
        if self._unsolicited:
            return
        if self._parser.get_status_code() < 200:
            self._begin_message()  # 100, 103: the response is still to come
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
        self._unsolicited = False
        self._too_large = ""

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        keep = self._keep and not self._unsolicited
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
