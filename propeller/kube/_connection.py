"""How to reach one API server, and a client that does.

Guarantees
    No secret is in a message or a repr.
Errors
    Invalid, for certificates and keys that are none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Client as ClientSettings
from propeller.kube._client import Client
from propeller.kube._flows import requests_at_once
from propeller.kube._http import HttpTransport
from propeller.kube._tls import TlsSource
from propeller.kube._tokens import FileToken, FixedToken, ObtainedToken
from propeller.kube._transport import TokenSource, Transport, origin_of


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one API server. `namespace` is the context's default."""

    server: str
    namespace: str = "default"
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None
    ca_file: str = ""
    """Where `ca` was read from, and changes of it are to be seen; as for the next two. "" where it never changes."""
    client_certificate_file: str = ""
    client_key_file: str = ""
    token: str = ""
    token_file: str = ""
    obtain: tuple[str, str] | None = None
    """Kubeconfig path and context, where the credentials have to be obtained."""
    verify: bool = True
    tls_server_name: str = ""
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"Connection({self.origin})"

    @property
    def origin(self) -> str:
        """The server without its path, for messages."""
        return origin_of(self.server)


@asynccontextmanager
async def connect(
    connection: Connection, settings: ClientSettings | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Client]:
    """A client of the connection's server, closed with the block."""
    settings = settings or ClientSettings()
    transport = _transport(connection, settings, clock)
    try:
        yield Client(transport, settings, clock=clock)
    finally:
        await transport.close()


def _transport(connection: Connection, settings: ClientSettings, clock: Clock) -> Transport:
    tls = TlsSource(connection) if connection.server.startswith("https") else None
    tokens, hostname = _tokens(connection, clock), connection.tls_server_name or None
    connections = requests_at_once(settings)
    if connection.proxy is None:
        return HttpTransport(
            connection.server,
            tls=tls,
            tokens=tokens,
            server_hostname=hostname,
            max_connections=connections,
        )
    from propeller.kube._aiohttp import AiohttpTransport  # 0.2 s and 20 MB that only users of proxies pay for

    return AiohttpTransport(
        connection.server,
        tls=tls,
        tokens=tokens,
        proxy=connection.proxy,
        server_hostname=hostname,
        max_connections=connections,
    )


def _tokens(connection: Connection, clock: Clock) -> TokenSource | None:
    if connection.obtain is not None:
        return ObtainedToken(*connection.obtain, clock)
    if connection.token_file:
        return FileToken(connection.token_file, clock)
    return FixedToken(connection.token) if connection.token else None
