"""Transport over a small HTTP/1.1 client of ours, on llhttp: requests are most of our cost.

Guarantees
    At most `max_connections` requests at once; streams have connections of their own, as a watch must not occupy a
    verb's slot. An exchange that is given up, by a deadline or a cancellation, closes its connection.
    A request is sent again only if that is safe: a GET on a connection that had idled and was closed without a byte of
    a response; and any request once, with a fresh token, after a 401.
    A connection shows the client certificate of the moment at which it was opened, and carries no request after another
    one was obtained. With a proxy, no connection goes anywhere else.
Assumptions
    The server speaks HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import functools
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from propeller.errors import Unavailable
from propeller.kube._deadline import Deadline
from propeller.kube._gzip import unfolded, unfolded_stream
from propeller.kube._http_connection import HttpConnection
from propeller.kube._http_responses import BufferedResponse, NoResponse
from propeller.kube._http_stream import StreamingResponse
from propeller.kube._limit import FlowLimit
from propeller.kube._proxy import Proxy, open_through
from propeller.kube._transport import (
    NOBODY,
    Credential,
    Credentials,
    Request,
    Response,
    Stream,
    check_token,
    origin_of,
    unreachable,
)

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may idle and be used again: the API server closes them after 90."""

LIFETIME_SECONDS = 600.0
"""How long a connection is used, less up to a tenth: so that changed certificates come into use, and a server that
joins others behind one address gets its share of requests. A handshake in ten minutes costs nothing.
"""

CLOSING_SECONDS = 1.0
"""How long closing waits for connections that are just being opened."""


class HttpTransport:
    """Requests to one server at `base_url` (`https://host:port`, a path is put before each request's).

    `tls` gives the context for a connection that is about to be opened; None means the system's authorities. `headers`
    go with every request.
    """

    def __init__(
        self,
        base_url: str,
        *,
        tls: Callable[[Credential], ssl.SSLContext] | None = None,
        credentials: Credentials | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        proxy: Proxy | None = None,
        server_hostname: str | None = None,
        max_connections: int = 32,
    ) -> None:
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        self._base = origin_of(base_url)  # for messages
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2]
        self._tls = (tls or (lambda _: _system_trust())) if secure else None
        self._shown: ssl.SSLContext | None = None  # with the last connection that was opened
        self._server_hostname = (server_hostname or self._host) if secure else None
        self._credentials = credentials
        self._proxy = proxy
        forwarding = proxy if proxy is not None and proxy.forwards and not secure else None
        if forwarding is not None:
            self._prefix = self._base + self._prefix  # a request to a proxy names the whole URL
            if forwarding.authorization:
                headers = (*headers, ("proxy-authorization", forwarding.authorization))
        self._headers = headers
        self._room = FlowLimit("connections", max_connections)
        self._idle: dict[HttpConnection, None] = {}  # the one used last at the end
        self._open: set[HttpConnection] = set()
        self._opening: set[asyncio.Future[HttpConnection]] = set()
        self._closed = False

    async def send(self, request: Request, *, deadline: float) -> Response:
        try:
            with Deadline(deadline):
                if not self._room.try_acquire():
                    await self._room.acquire()
                try:
                    response = await self._authorized(request, lambda head, shown: self._exchange(request, head, shown))
                    return await unfolded(response) if "content-encoding" in response.headers else response
                finally:
                    self._room.release()
        except (OSError, TimeoutError) as error:
            raise self._unreachable(request, deadline, error) from error

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._stream(request, deadline)

    async def close(self) -> None:
        self._closed = True
        self._idle.clear()
        for connection in tuple(self._open):
            connection.fail(f"the connections to {self._base} are being closed")
        if self._opening:
            _, late = await asyncio.wait(self._opening, timeout=CLOSING_SECONDS)
            for opening in late:
                opening.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _exchange(self, request: Request, head: bytes, credential: Credential) -> Response:
        while True:
            connection, used_before = await self._connection(credential)
            response = BufferedResponse(asyncio.get_running_loop())
            connection.begin(response, head + request.body)
            try:
                body = await response.done
            except NoResponse:
                if used_before and request.method == "GET":
                    continue
                raise
            except BaseException:
                connection.give_up(response)
                raise
            return Response(status=response.status, headers=response.headers, body=body)

    def _unreachable(self, request: Request, deadline: float, error: Exception) -> Unavailable:
        waits_for = self._credentials.waits_for if self._credentials is not None else ""
        return unreachable(self._base, request, deadline, error, waits_for=waits_for, proxy=self._proxy)

    @asynccontextmanager
    async def _stream(self, request: Request, deadline: float) -> AsyncIterator[Stream]:
        opened: list[tuple[HttpConnection, StreamingResponse]] = []

        async def begin(head: bytes, credential: Credential) -> StreamingResponse:
            connection, _ = await self._connection(credential, fresh=True)
            response = StreamingResponse(connection, asyncio.get_running_loop())
            opened.append((connection, response))
            connection.begin(response, head + request.body)
            await response.begun
            return response

        try:
            try:
                with Deadline(deadline):
                    response = await self._authorized(request, begin)
            except (OSError, TimeoutError) as error:
                raise self._unreachable(request, deadline, error) from error
            yield unfolded_stream(response)
        finally:
            for connection, begun in opened:
                connection.give_up(begun)  # if its response was read to its end, another request may have it

    async def _authorized(self, request: Request, exchange: Callable[[bytes, Credential], Awaitable[T]]) -> T:
        """Exchange with the credentials of the moment; refused ones are replaced once."""
        if self._credentials is None:
            return await exchange(self._head(request, ""), NOBODY)
        credential = await self._credentials.current()
        response = await exchange(self._head(request, credential.token), credential)
        if getattr(response, "status", 0) == 401:
            self._credentials.refused(credential)
            fresh = await self._credentials.current()
            if fresh != credential:
                return await exchange(self._head(request, fresh.token), fresh)
        return response

    def _head(self, request: Request, token: str) -> bytes:
        query = _query(tuple(request.query.items())) if request.query else ""
        headers = tuple(request.headers.items())
        lines = _lines(self._host_header, (*headers, *self._headers) if self._headers else headers, token)
        length = f"content-length: {len(request.body)}\r\n" if request.body or request.method != "GET" else ""
        return f"{request.method} {self._prefix}{request.path}{query} HTTP/1.1\r\n{lines}{length}\r\n".encode("latin-1")

    async def _connection(self, credential: Credential, *, fresh: bool = False) -> tuple[HttpConnection, bool]:
        """A connection that can be used and shows the credential's certificate, and whether it was used before."""
        loop = asyncio.get_running_loop()
        while self._idle and not fresh:
            connection, _ = self._idle.popitem()
            now = loop.time()
            young = now - connection.idle_since < KEEP_ALIVE_SECONDS and now < connection.retires_at
            if connection.usable and young and connection.certificate == credential.certificate:
                return connection, True
            connection.close()
        tls = self._tls(credential) if self._tls is not None else None
        if tls is not self._shown:
            self._shown = tls
            self._close_idle()  # the TLS context that they were opened with has been replaced
        connection = await self._opened(tls)
        if self._closed:
            connection.close()
            raise Unavailable(f"the connections to {self._base} are closed")
        connection.retires_at = loop.time() + LIFETIME_SECONDS * random.uniform(0.9, 1.0)
        connection.certificate = credential.certificate
        self._open.add(connection)
        return connection, False

    async def _opened(self, tls: ssl.SSLContext | None) -> HttpConnection:
        """Open a new connection. If its request is cancelled, it is closed once it is open, and not before: uvloop
        trips over a TLS handshake that is cancelled.
        """
        opening = asyncio.ensure_future(self._open_one(tls))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise

    async def _open_one(self, tls: ssl.SSLContext | None) -> HttpConnection:
        connection = HttpConnection(self._base, self._release, self._forget)
        if self._proxy is None:
            await asyncio.get_running_loop().create_connection(
                lambda: connection, self._host, self._port, ssl=tls, server_hostname=self._server_hostname
            )
        else:
            await open_through(
                self._proxy,
                connection,
                self._host,
                self._port,
                tls=tls,
                server_hostname=self._server_hostname,
                proxy_tls=tls or _system_trust(),
            )
        return connection

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.popitem()[0].close()

    def _release(self, connection: HttpConnection) -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle[connection] = None

    def _forget(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)


def _close_unused(opening: asyncio.Future[HttpConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@functools.cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


@functools.lru_cache(maxsize=256)
def _query(items: tuple[tuple[str, str], ...]) -> str:
    return "?" + urlencode(items)


@functools.lru_cache(maxsize=256)
def _lines(host: str, headers: tuple[tuple[str, str], ...], token: str) -> str:
    """Header lines that are the same for many requests. Raises Denied for a token that is none."""
    check_token(token)
    authorization = f"authorization: Bearer {token}\r\n" if token else ""
    return f"host: {host}\r\n{authorization}" + "".join(f"{name}: {value}\r\n" for name, value in headers)
