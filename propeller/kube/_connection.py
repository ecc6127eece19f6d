"""How to reach one API server, and a client that does.

Guarantees
    No secret is in a message or a repr.
Errors
    Invalid, for certificates and keys that are none, and for a proxy's URL that names none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from string import ascii_letters, digits

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.kube._auth_provider import AuthProvider
from propeller.kube._client import Client
from propeller.kube._credentials import FileToken, FixedCredential, ObtainedCredential
from propeller.kube._exec import ExecPlugin
from propeller.kube._flows import requests_at_once
from propeller.kube._http import HttpTransport
from propeller.kube._options import ClientOptions
from propeller.kube._proxy import parse_proxy
from propeller.kube._tls import TlsSource
from propeller.kube._transport import Credential, Credentials, Transport, origin_of

_HEADER_NAME = frozenset(ascii_letters + digits + "!#$&'*+-.^_`|~")
"""RFC 9110's tchar without `%`, which escapes the others."""


class Impersonation(msgspec.Struct, frozen=True, kw_only=True):
    """The user whose rights requests have instead of our own (`as`, `as-uid`, `as-groups`, `as-user-extra`)."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}

    def headers(self) -> tuple[tuple[str, str], ...]:
        """As the API server reads them; keys of `extra` are escaped like the parts of a URL."""
        found = [("impersonate-user", self.user)]
        if self.uid:
            found.append(("impersonate-uid", self.uid))
        found.extend(("impersonate-group", group) for group in self.groups)
        for key, values in self.extra.items():
            name = "".join(c if c in _HEADER_NAME else f"%{b:02X}" for c, b in _characters(key))
            found.extend((f"impersonate-extra-{name}", value) for value in values)
        return tuple((name, value.encode().decode("latin-1")) for name, value in found)  # headers are UTF-8 to Go


def _characters(text: str) -> list[tuple[str, int]]:
    return [(chr(byte), byte) for byte in text.encode()]


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one API server. `namespace` is the context's default."""

    server: str
    namespace: str = "default"
    ca: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None
    ca_file: str = ""
    """The file that `ca` was read from, to notice changes; "" if it never changes. The next two are alike."""
    client_certificate_file: str = ""
    client_key_file: str = ""
    token: str = ""
    token_file: str = ""
    """Comes before `token`, which is used while the file cannot be read."""
    exec_plugin: ExecPlugin | None = None
    """The plugin to run for credentials; not with a token or a client certificate."""
    auth_provider: AuthProvider | None = None
    impersonation: Impersonation | None = None
    verify: bool = True
    tls_server_name: str = ""
    proxy: str | None = None
    """URL of the proxy to the server: http, https or socks5."""
    proxy_source: str = "proxy-url"
    """The source of the proxy, for messages: the kubeconfig's field or a variable of the environment."""

    def __repr__(self) -> str:
        return f"Connection({self.origin})"

    @property
    def origin(self) -> str:
        """The server without its path, for messages."""
        return origin_of(self.server)

    @property
    def provider(self) -> ExecPlugin | AuthProvider | None:
        """The plugin that has to give credentials before the first request."""
        return self.exec_plugin or self.auth_provider


@asynccontextmanager
async def connect(
    connection: Connection, settings: ClientOptions | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Client]:
    """A client of the connection's server, closed with the block."""
    settings = settings or ClientOptions()
    transport = _transport(connection, settings, clock)
    try:
        yield Client(transport, settings, clock=clock)
    finally:
        await transport.close()


def _transport(connection: Connection, settings: ClientOptions, clock: Clock) -> Transport:
    return HttpTransport(
        connection.server,
        tls=TlsSource(connection) if connection.server.startswith("https") else None,
        credentials=_credentials(connection, clock),
        headers=connection.impersonation.headers() if connection.impersonation is not None else (),
        proxy=parse_proxy(connection.proxy, connection.proxy_source) if connection.proxy else None,
        server_hostname=connection.tls_server_name or None,
        max_connections=requests_at_once(settings),
    )


def _credentials(connection: Connection, clock: Clock) -> Credentials | None:
    if connection.token_file:
        return FileToken(connection.token_file, clock, connection.token)
    if connection.token:
        return FixedCredential(Credential(token=connection.token))
    if connection.provider is not None:
        return ObtainedCredential(connection.provider, clock)
    return None
