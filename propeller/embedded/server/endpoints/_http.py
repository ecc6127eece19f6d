"""The server over HTTP, for kubectl and other processes of this machine.

Guarantees
    Nobody gets past 401 without the token, but for the health endpoints. The token is in no log and no repr.
    Connections are limited in number, and heads of requests in size and time (`propeller.listening`).
    When the context is left, the port is free and every connection closed.
Caveats
    kubectl, like all of client-go, sends no token over plain HTTP. So without TLS the token may stand before the path
    as well, as in `http://127.0.0.1:1234/<token>/api/v1`, and does so in the kubeconfig. With TLS it never does.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from propeller.embedded.server._errors import request_too_large, unauthorized
from propeller.embedded.server.endpoints._front import Front
from propeller.embedded.server.negotiation._bodies import MAX_REQUEST_BYTES
from propeller.embedded.server.negotiation._requests import PREFIX_HEADER
from propeller.errors import Invalid, Unavailable
from propeller.kube import Request, Response, Stream, Transport
from propeller.listening import Guard, protocol_log

_DEADLINE = 60.0
"""Seconds for one request that is no watch: kube-apiserver's --request-timeout."""

_HEAD_SECONDS = 32.0
"""Until a request's head has to be whole: kube-apiserver's ReadHeaderTimeout."""

_HEAD_BYTES = 64 * 1024
"""Maximum size of a request's head, including its line with selectors and continue tokens."""

_KEEP_ALIVE_SECONDS = 90.0
"""That a connection may idle: kube-apiserver's IdleTimeout."""

_SHUTDOWN = 1.0
_OPEN_PATHS = ("/healthz", "/livez", "/readyz")


@asynccontextmanager
async def serve(
    transport: Transport,
    host: str,
    port: int,
    *,
    token: str | None,
    connections: int,
    tls: ssl.SSLContext | None = None,
    ca: bytes | None = None,
) -> AsyncIterator[Front]:
    """Listen until the context exits. Raises Invalid if the address is not available."""
    token = token or secrets.token_urlsafe(32)
    guard = Guard(connections=connections, head_bytes=_HEAD_BYTES, head_seconds=_HEAD_SECONDS)
    door = _HttpHandler(transport, token, guard, in_path=tls is None)
    server = web.Server(
        door.handle,
        access_log=None,
        handler_cancellation=True,
        logger=protocol_log,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        max_line_size=_HEAD_BYTES,
        max_field_size=_HEAD_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        stack.callback(door.close)
        try:
            actual = await stack.enter_async_context(guard.listen(server, host, port, tls=tls))
        except OSError as error:
            raise _not_to_be_had(host, port, error) from error
        shown = f"[{host}]" if ":" in host else host
        yield Front(f"{'https' if tls else 'http'}://{shown}:{actual}", token, ca)


def _not_to_be_had(host: str, port: int, error: OSError) -> Invalid:
    if error.errno == errno.EADDRINUSE:
        return Invalid(f"port {port} on {host} is in use: end what listens there, or choose another port (0: any)")
    return Invalid(f"the API server cannot listen on {host} port {port}: {error.strerror or error}")


class _HttpHandler:
    """Turns HTTP into requests of a transport, and answers into HTTP."""

    def __init__(self, transport: Transport, token: str, guard: Guard, *, in_path: bool) -> None:
        self._transport = transport
        self._guard = guard
        self._bearer = f"Bearer {token}".encode()
        self._prefix = f"/{token}".encode() if in_path else b""
        self._handling: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Cancel responses in flight: watches would never end."""
        for task in tuple(self._handling):
            task.cancel()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            with self._guard.handling(http):
                return await self._answer(http)
        finally:
            self._handling.discard(task)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        path, prefix = self._admit(http)
        if path is None:
            return _whole(unauthorized().response())
        try:
            async with asyncio.timeout(_DEADLINE):
                body = await _read(http)
        except TimeoutError:
            _reset(http)
            return web.Response()
        if body is None:
            return _whole(request_too_large(MAX_REQUEST_BYTES).response())
        request = Request(
            method=http.method,
            path=path,
            query=dict(http.rel_url.query),
            headers={name.lower(): value for name, value in http.headers.items()} | {PREFIX_HEADER: prefix},
            body=body,
        )
        try:
            async with self._transport.stream(request, deadline=_DEADLINE) as stream:
                return await _send(http, stream)
        except Unavailable:
            _reset(http)
            return web.Response()

    def _admit(self, http: web.BaseRequest) -> tuple[str | None, str]:
        """Return the path of a permitted request, else None, and the prefix before it."""
        path = http.rel_url.raw_path
        first, slash, rest = path[1:].partition("/")
        if self._prefix and hmac.compare_digest(f"/{first}".encode(), self._prefix):
            return slash + rest, f"/{first}"
        given = http.headers.get("Authorization", "").encode()
        if path.startswith(_OPEN_PATHS) or hmac.compare_digest(given, self._bearer):
            return path, ""
        return None, ""


async def _read(http: web.BaseRequest) -> bytes | None:
    """Return the body; None if it is over the limit."""
    parts, size = [], 0
    async for part in http.content.iter_any():
        size += len(part)
        if size > MAX_REQUEST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


async def _send(http: web.BaseRequest, stream: Stream) -> web.StreamResponse:
    """Whole answers with their length; of watches and followed logs the head at once, then chunks as they come."""
    if not _is_endless(http):
        body = b"".join([chunk async for chunk in stream])
        return web.Response(status=stream.status, headers=stream.headers, body=body)
    response = web.StreamResponse(status=stream.status, headers=stream.headers)
    response.enable_chunked_encoding()
    try:
        await response.prepare(http)  # client-go's Watch() returns with the head, which may come long before an event
        async for chunk in stream:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionError:  # the client is gone, and its stream ends with it
        _reset(http)
    return response


def _is_endless(http: web.BaseRequest) -> bool:
    query = http.rel_url.query
    return query.get("watch", "") not in ("", "0", "false") or query.get("follow", "") not in ("", "0", "false")


def _reset(http: web.BaseRequest) -> None:
    """Break the connection: that is how a server looks that went away."""
    if http.transport is not None:
        http.transport.abort()


def _whole(response: Response) -> web.Response:
    return web.Response(status=response.status, headers=dict(response.headers), body=response.body)
