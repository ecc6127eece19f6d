"""The seam between the client and the transport of its requests: the HTTP client, or memory.

Guarantees
    `send` returns a whole response of any status, or raises `Unavailable`; it never retries.
    `stream` yields the body's bytes as they come, in chunks of any size, and ends the exchange when its context is
    left.
Assumptions
    Header names in responses are lower case.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from propeller.errors import Denied, Unavailable, Untrusted
from propeller.kube._proxy import Proxy, ProxyError


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials: a bearer token, "" for none, a client certificate with its key (PEM), or both."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: float | None = None
    """Seconds since the epoch."""

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires})"


NOBODY = Credential()


class Credentials(Protocol):
    """A source of credentials."""

    @property
    def waits_for(self) -> str:
        """The name of the plugin that has not given credentials yet, for messages; "" for none."""

    async def current(self) -> Credential:
        """The credentials to show now. Raises Denied."""

    def refused(self, credential: Credential) -> None:
        """The server refused this one: get another."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request: `path` is percent-encoded and absolute (`/api/v1/pods`), `query` is not encoded yet."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One whole response."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Stream(Protocol):
    """A response whose body is still arriving."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's chunks until its end; raises `Unavailable` if the connection is cut before it."""


class Transport(Protocol):
    async def send(self, request: Request, *, deadline: float) -> Response:
        """One exchange, whole, within `deadline` seconds."""

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        """Begin an exchange: `deadline` seconds for the head of the response, none for its body."""

    async def close(self) -> None:
        """End every open exchange and connection."""


def check_token(token: str) -> None:
    """Raise Denied for a text that cannot be a bearer token, and would break the request that carries it."""
    if not token.isascii() or not token.isprintable():
        raise Denied("the bearer token holds characters that no token has: is the token file what it should be?")


def origin_of(url: str) -> str:
    """`https://host:port` of a URL, for messages: a path can be a secret, and a user's part is one."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def unreachable(
    base: str,
    request: Request,
    deadline: float,
    error: Exception,
    *,
    waits_for: str = "",
    proxy: Proxy | None = None,
) -> Unavailable:
    """The error for a request without a response, with its mend. `waits_for` names a plugin that has not given
    credentials, `proxy` is the proxy on the way: neither is to be blamed for the other.
    """
    what = f"{request.method} {request.path}"
    through = f" through proxy {proxy.origin}" if proxy is not None else ""
    if isinstance(error, TimeoutError):
        seconds = f"{deadline:.3g} s"
        if waits_for:
            return Unavailable(f"{waits_for} gave no credentials within {seconds}; {base} was not asked yet")
        return Unavailable(f"{base} did not answer {what} within {seconds}{through}")
    if isinstance(error, ProxyError) and proxy is not None:
        text = f"proxy {proxy.origin} {error}; {base} was not asked: check {proxy.source}"
        return Untrusted(text) if isinstance(error.__cause__, ssl.SSLError) else Unavailable(text)
    if isinstance(error, ssl.SSLError):
        return Untrusted(
            f"{base} shows a certificate that is not trusted{through}: {error}; check certificate-authority and "
            "tls-server-name in the kubeconfig"
        )
    return Unavailable(f"{base} cannot be reached for {what}{through}: {str(error) or type(error).__name__}")
