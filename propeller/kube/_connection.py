"""How to reach one API server, and a client that does.

Guarantees
    The server's certificate is verified unless the connection says otherwise. No secret is in a message or a repr, nor
    in a file for longer than it takes to read it.
Errors
    Invalid, for certificates and keys that are none.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Client as ClientSettings
from propeller.errors import Invalid
from propeller.kube._client import Client
from propeller.kube._http import HttpTransport
from propeller.kube._tokens import FileToken, FixedToken, ObtainedToken
from propeller.kube._transport import TokenSource, Transport, origin_of


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one API server. `namespace` is the context's default."""

    server: str
    namespace: str = "default"
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None
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
    tls = tls_context(connection) if connection.server.startswith("https") else None
    tokens, hostname = _tokens(connection, clock), connection.tls_server_name or None
    if connection.proxy is None:
        return HttpTransport(
            connection.server,
            tls=tls,
            tokens=tokens,
            server_hostname=hostname,
            max_connections=settings.max_connections,
        )
    from propeller.kube._aiohttp import AiohttpTransport  # 0.2 s and 20 MB that only users of proxies pay for

    return AiohttpTransport(
        connection.server,
        tls=tls,
        tokens=tokens,
        proxy=connection.proxy,
        server_hostname=hostname,
        max_connections=settings.max_connections,
    )


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Verifies the server unless the kubeconfig says otherwise; shows the client certificate where there is one."""
    try:
        context = ssl.create_default_context(cadata=connection.ca.decode() if connection.ca else None)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"certificate-authority of {connection.origin} is no PEM certificate: {error}") from error
    if not connection.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.client_certificate and connection.client_key:
        # ssl reads certificates from files only; these live as long as this call, and only we can read them
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory, "cert"), Path(directory, "key")
            for path, data in ((certificate, connection.client_certificate), (key, connection.client_key)):
                path.touch(mode=0o600)
                path.write_bytes(data)
            try:
                context.load_cert_chain(certificate, key, password="")
            except (OSError, ValueError) as error:
                raise Invalid(f"client certificate or key for {connection.origin} is not usable: {error}") from error
    return context


def _tokens(connection: Connection, clock: Clock) -> TokenSource | None:
    if connection.obtain is not None:
        return ObtainedToken(*connection.obtain, clock)
    if connection.token_file:
        return FileToken(connection.token_file, clock)
    return FixedToken(connection.token) if connection.token else None
