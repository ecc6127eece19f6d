"""Transport over aiohttp: complete (proxies, TLS of every kind, compression), and fast enough for the rare verbs."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aiohttp

from propeller.errors import Unavailable
from propeller.kube._gzip import unfolded, unfolded_stream
from propeller.kube._http_connection import BODY_LIMIT
from propeller.kube._transport import Request, Response, Stream, TokenSource, check_token, origin_of, unreachable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class _Stream:
    def __init__(self, response: aiohttp.ClientResponse, where: str) -> None:
        self._response = response
        self._where = where
        self.status = response.status
        self.headers: Mapping[str, str] = _lower(response)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"the stream from {self._where} was cut: {_text(error)}") from error


class AiohttpTransport:
    """Requests to one server at `base_url` (`https://host:port`). `tls` as for `HttpTransport`."""

    def __init__(
        self,
        base_url: str,
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
        tokens: TokenSource | None = None,
        proxy: str | None = None,
        server_hostname: str | None = None,
        max_connections: int = 32,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._tokens = tokens
        self._proxy: str | None = None
        self._proxy_headers: dict[str, str] | None = None
        if proxy is not None:
            self._proxy, self._proxy_headers = _without_user(proxy)
        self._server_hostname = server_hostname
        self._tls = tls
        self._max_connections = max_connections
        self._opened: aiohttp.ClientSession | None = None

    async def send(self, request: Request, *, deadline: float) -> Response:
        try:
            async with asyncio.timeout(deadline):
                response = await self._begin(request)
                async with response:
                    body = await _read(response)
                return await unfolded(Response(status=response.status, headers=_lower(response), body=body))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(request, deadline, error) from error

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._stream(request, deadline)

    @asynccontextmanager
    async def _stream(self, request: Request, deadline: float) -> AsyncIterator[Stream]:
        try:
            async with asyncio.timeout(deadline):
                response = await self._begin(request)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(request, deadline, error) from error
        try:
            yield unfolded_stream(_Stream(response, origin_of(self._base)))
        finally:
            response.close()

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _unreachable(self, request: Request, deadline: float, error: Exception) -> Unavailable:
        waits_for = self._tokens.waits_for if self._tokens is not None else ""
        proxy = origin_of(self._proxy) if self._proxy is not None else ""
        return unreachable(origin_of(self._base), request, deadline, error, waits_for=waits_for, proxy=proxy)

    async def _begin(self, request: Request) -> aiohttp.ClientResponse:
        """Send, with the token of the moment; a refused one is replaced once."""
        token = await self._tokens.token() if self._tokens is not None else ""
        response = await self._request(request, token)
        if response.status == 401 and self._tokens is not None and token:
            self._tokens.expired(token)
            fresh = await self._tokens.token()
            if fresh != token:
                response.release()
                response = await self._request(request, fresh)
        return response

    async def _request(self, request: Request, token: str) -> aiohttp.ClientResponse:
        check_token(token)
        headers = {"accept-encoding": "identity", **request.headers}  # aiohttp asks for what it cannot limit
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await self._session().request(
            request.method,
            self._base + request.path,
            params=request.query,
            headers=headers,
            data=request.body or None,
            allow_redirects=False,  # an API server sends none, and the token is not for others
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            server_hostname=self._server_hostname,
            ssl=self._tls() if self._tls is not None else True,  # a connection is used again for the same one alone
        )

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=self._max_connections + 64,  # watches hold a connection each, and must not take a verb's place
                keepalive_timeout=75,
            )
            self._opened = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(), auto_decompress=False, trust_env=False
            )
        return self._opened


def _without_user(proxy: str) -> tuple[str, dict[str, str] | None]:
    """A proxy's URL as aiohttp may show it in its errors, and the header that says who we are.

    aiohttp makes `Proxy-Authorization` of it, for the CONNECT alone where there is one.
    """
    parts = urlsplit(proxy)
    user, at, address = parts.netloc.rpartition("@")
    if not at:
        return proxy, None
    name, _, password = user.partition(":")
    credentials = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=address).geturl(), {"Authorization": f"Basic {credentials}"}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body as it came. Raises Unavailable over `BODY_LIMIT` bytes."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > BODY_LIMIT:
            raise Unavailable(f"an answer is over {BODY_LIMIT} bytes: ask for smaller pages")
    return b"".join(pieces)


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
