"""The seam between the client and what carries its requests: aiohttp, the hot-path HTTP client, or memory.

Guarantees
    `send` returns a whole answer of any status, or raises `Unavailable`; it never retries.
    `stream` yields the body's bytes as they come, in chunks of any size, and ends the exchange when its context is
    left.
Assumptions
    Header names in answers are lower case.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from propeller.errors import Denied, Unavailable, Untrusted


class TokenSource(Protocol):
    """Where a bearer token comes from."""

    @property
    def waits_for(self) -> str:
        """What has to come before there is a token, and has not yet, for messages; "" if nothing has to."""

    async def token(self) -> str:
        """The token to send now, "" for none."""

    def expired(self, token: str) -> None:
        """The server refused this token: get another."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request: `path` is percent-encoded and absolute (`/api/v1/pods`), `query` is not encoded yet."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Stream(Protocol):
    """An answer whose body is still arriving."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's chunks until its end; raises `Unavailable` where the connection is cut before it."""


class Transport(Protocol):
    async def send(self, request: Request, *, deadline: float) -> Response:
        """One exchange, whole, within `deadline` seconds."""

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        """Begin an exchange: `deadline` seconds for the head of the answer, none for its body."""

    async def close(self) -> None:
        """End every open exchange and connection."""


def check_token(token: str) -> None:
    """Raise Denied for what cannot be a bearer token, and would break the request that carries it."""
    if not token.isascii() or not token.isprintable():
        raise Denied("the bearer token holds characters that no token has: is the token file what it should be?")


def origin_of(url: str) -> str:
    """`https://host:port` of a URL: what messages may show. A path can be a secret, and a user's part is one."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def unreachable(
    base: str, request: Request, deadline: float, error: Exception, *, waits_for: str = "", proxy: str = ""
) -> Unavailable:
    """The error for an exchange that did not come about, with what mends it. `waits_for` is what had to come first and
    did not (credentials), `proxy` the origin of the proxy in between: one is not to be blamed for the other.
    """
    what = f"{request.method} {request.path}"
    causes = [error, error.__cause__, getattr(error, "certificate_error", None), getattr(error, "os_error", None)]
    through = f" through proxy {proxy}" if proxy else ""
    if isinstance(error, TimeoutError):
        if waits_for:
            return Unavailable(f"{waits_for} did not come within {round(deadline, 1):g} s; {base} was not asked yet")
        return Unavailable(f"{base} did not answer {what} within {round(deadline, 1):g} s{through}")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        shown = next(cause for cause in causes if isinstance(cause, ssl.SSLError))
        return Untrusted(
            f"{base} shows a certificate that is not trusted{through}: {shown}; check certificate-authority and "
            "tls-server-name in the kubeconfig"
        )
    reason = _reason(error)
    if proxy and hasattr(error, "os_error") and "Proxy" in type(error).__name__:
        return Unavailable(f"proxy {proxy} cannot be reached, {base} was not asked: {reason}; check proxy-url")
    return Unavailable(f"{base} cannot be reached for {what}{through}: {reason}")


def _reason(error: Exception) -> str:
    """Without what aiohttp puts around it: the address, and objects of Python's."""
    inner = getattr(error, "os_error", None)
    return str(inner or error) or type(error).__name__
