"""Forward proxies between us and an API server, chosen as client-go chooses them.

Guarantees
    `proxy-url` of the kubeconfig's cluster always holds. Without one, HTTPS_PROXY or HTTP_PROXY of the environment is
    used unless NO_PROXY excludes the server; `localhost` and loopback addresses are never asked through a proxy of the
    environment. The rules, down to ports, CIDRs and leading dots, are those of Go's golang.org/x/net/http/httpproxy.
    HTTP and HTTPS proxies tunnel https servers with CONNECT and forward plain http ones; SOCKS5 (RFC 1928, RFC 1929)
    resolves the server's name at the proxy. A proxy's password is in no message.
Errors
    Invalid for a URL that names no proxy, with the field or variable. ProxyError while a connection is opened.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from propeller.errors import Invalid
from propeller.redaction import shown_url
from propeller.text import bounded, one_line

_PORTS = {"http": 80, "https": 443, "socks5": 1080}
_ANSWER_SECONDS = 60.0
"""Until a proxy has answered; a connection whose request was cancelled ends with it."""
_HEAD_BYTES = 16 * 1024
_REASON_CHARACTERS = 200

_SOCKS_REFUSALS = {
    1: "general failure",
    2: "its rules do not allow the connection",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "the connection took too long",
    7: "it does not connect",
    8: "it does not know this kind of address",
}
"""RFC 1928, section 6."""


class ProxyError(OSError):
    """The proxy is not there or refuses: the server behind it was not asked. The text goes on from the proxy's name."""


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """One forward proxy. `source` is the field or variable that names it, for messages."""

    scheme: str
    host: str
    port: int
    source: str
    user: str | None = None
    password: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.origin})"

    @property
    def origin(self) -> str:
        """The URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def forwards(self) -> bool:
        """Whether plain http requests go to the proxy itself, with the whole URL; SOCKS knows connections only."""
        return self.scheme in {"http", "https"}

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization, "" without a user."""
        if self.user is None:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def parse_proxy(url: str, source: str) -> Proxy:
    """The proxy that a URL names. Raises Invalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
        usable = parts.scheme in _PORTS and bool(parts.hostname) and port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(
            f"{source}: {shown_url(url)!r} names no proxy: its form is http://host:port, https://host:port or "
            "socks5://host:port"
        )
    return Proxy(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=port or _PORTS[parts.scheme],
        source=source,
        user=None if parts.username is None else unquote(parts.username),
        password=unquote(parts.password or ""),
    )


def proxy_of_environment(server: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """URL of the proxy for a server's URL and the variable that names it; ("", "") for none.

    Upper case comes before lower case, and an address without a scheme is that of an http proxy.
    """
    parts = urlsplit(server)
    names = ("HTTPS_PROXY", "https_proxy") if parts.scheme == "https" else ("HTTP_PROXY", "http_proxy")
    name, url = next(((name, found) for name in names if (found := environment.get(name, ""))), ("", ""))
    if not url or (name == "HTTP_PROXY" and environment.get("REQUEST_METHOD")):  # a CGI script's: a client's header
        return "", ""
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if not _uses_proxy(parts.hostname or "", parts.port or _PORTS[parts.scheme], excluded):
        return "", ""
    if url.startswith("socks5h://"):  # the same as socks5 here: the proxy resolves the name
        url = url.replace("socks5h", "socks5", 1)
    return (url if "://" in url else f"http://{url}"), name


def _uses_proxy(host: str, port: int, excluded: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(
        _excludes(entry.strip().lower(), _ascii(host.lower()), port, address) for entry in excluded.split(",")
    )


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _excludes(entry: str, host: str, port: int, address: Address | None) -> bool:
    """Whether an entry of NO_PROXY is about the host: `*`, a CIDR, an address or a domain, the last two with or without
    a port.
    """
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, for_port = _split_port(entry)
    if not name or (for_port and for_port != str(port)):
        return False
    if (excluded := _address(name)) is not None:
        return excluded == address
    suffix = name.removeprefix("*") if name.startswith("*.") else name
    if suffix.startswith("."):
        return host.endswith(_ascii(suffix))
    return host == _ascii(suffix) or host.endswith("." + _ascii(suffix))


def _split_port(entry: str) -> tuple[str, str]:
    """`host:port` and `[v6]:port`; an address of version 6 alone has no port, and needs no brackets."""
    name, colon, port = entry.rpartition(":")
    if colon and name.startswith("[") and name.endswith("]"):
        return name[1:-1], port
    return (name, port) if colon and ":" not in name else (entry, "")


def _in_network(address: Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped if mapped is not None else found


def _ascii(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name


async def open_through(
    proxy: Proxy,
    protocol: asyncio.Protocol,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    server_hostname: str | None,
    proxy_tls: ssl.SSLContext | None,
) -> None:
    """Connect `protocol` with a server through a proxy, with TLS to the server inside if `tls` is given. `proxy_tls`
    is for an https proxy. Without TLS, a proxy that forwards gets no CONNECT: requests name the whole URL.

    Raises ProxyError, and OSError or ssl.SSLError from the server's own handshake.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_HEAD_BYTES)
    try:
        transport, _ = await loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader),
            proxy.host,
            proxy.port,
            ssl=proxy_tls if proxy.scheme == "https" else None,
        )
    except OSError as error:
        raise ProxyError(f"cannot be reached: {str(error) or type(error).__name__}") from error
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            if not proxy.forwards:
                await _socks5(proxy, reader, transport, host, port)
            elif tls is not None:
                await _tunnel(proxy, reader, transport, host, port)
        if tls is not None:
            # the library's types know a transport that is read only by a Protocol that has been connected
            transport = await loop.start_tls(  # type: ignore[assignment]
                transport, protocol, tls, server_hostname=server_hostname
            )
        else:
            transport.set_protocol(protocol)
        protocol.connection_made(transport)
    except BaseException:
        transport.abort()
        raise


async def _tunnel(
    proxy: Proxy, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, host: str, port: int
) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.user is not None else ""
    transport.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n".encode("latin-1"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise ProxyError("closed the connection: is it an HTTP proxy?") from error
    line = head.partition(b"\r\n")[0].decode("latin-1")
    version, _, answer = line.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ProxyError("gave an answer that is not HTTP")
    if not answer.startswith("200"):
        does = "cannot connect to" if answer.startswith("5") else "refuses a connection to"
        raise ProxyError(f"{does} {target}: {bounded(one_line(answer), _REASON_CHARACTERS)}")


async def _socks5(
    proxy: Proxy, reader: asyncio.StreamReader, transport: asyncio.WriteTransport, host: str, port: int
) -> None:
    try:
        transport.write(b"\x05\x01\x00" if proxy.user is None else b"\x05\x02\x00\x02")
        version, method = await reader.readexactly(2)
        if version != 5:
            raise ProxyError("does not speak SOCKS5")
        if method == 2 and proxy.user is not None:
            transport.write(b"\x01" + _counted(proxy.user) + _counted(proxy.password))
            if (await reader.readexactly(2))[1]:
                raise ProxyError("refuses the user and password")
        elif method:
            raise ProxyError("wants a user and password" if proxy.user is None else "takes no user and password")
        transport.write(b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
        _, status, _, kind = await reader.readexactly(4)
        if status:
            raise ProxyError(f"refuses a connection to {host}:{port}: {_SOCKS_REFUSALS.get(status, status)}")
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        await reader.readexactly(length + 2)  # its own address of the connection
    except EOFError as error:  # IncompleteReadError
        raise ProxyError("closed the connection: is it a SOCKS5 proxy?") from error


def _socks_address(host: str) -> bytes:
    address = _address(host)
    if address is None:
        return b"\x03" + _counted(_ascii(host))
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def _counted(text: str) -> bytes:
    encoded = text.encode()[:255]
    return bytes([len(encoded)]) + encoded
