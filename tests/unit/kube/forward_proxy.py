"""A forward proxy as companies run them: CONNECT and whole URLs over HTTP or HTTPS, or SOCKS5, on loopback.

Bytes in a tunnel pass unchanged: client and server still verify each other.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class ForwardProxy:
    """`asked` is what clients have asked it for: `CONNECT host:port`, `GET url` or `SOCKS host:port`."""

    def __init__(self, scheme: str, user: str = "", password: str = "", names: dict[str, str] | None = None) -> None:
        self.scheme = scheme
        self.port = 0
        self.asked: list[str] = []
        self._user = user
        self._password = password
        self._names = names or {}

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.scheme == "socks5":
                upstream = await self._socks(reader, writer)
            else:
                upstream = await self._http(reader, writer)
            if upstream is not None:
                await _pass_on((reader, writer), upstream)
        except (OSError, EOFError):
            return  # one side has gone
        finally:
            writer.close()

    async def _http(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append(f"{method} {target}")
        proof = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if self._user and f"\r\nproxy-authorization: basic {proof}\r\n".lower() not in head.decode().lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            try:
                upstream = await self._connect(host, int(port))
            except OSError:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return None
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return upstream
        parts = urlsplit(target)
        upstream = await self._connect(parts.hostname or "", parts.port or 80)
        path = target.split(parts.netloc, 1)[1].encode()
        upstream[1].write(head.replace(target.encode(), path, 1))  # later requests of the connection are not rewritten
        return upstream

    async def _socks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self._user else 0
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods:
            return None
        if wanted == 2:
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (self._user, self._password)
            writer.write(bytes([1, 0 if right else 1]))
            if not right:
                return None
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"SOCKS {host}:{port}")
        try:
            upstream = await self._connect(host, port)
        except OSError:
            writer.write(b"\x05\x04\x00\x01" + bytes(6))
            return None
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        return upstream

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._names.get(host, host), port)


@asynccontextmanager
async def forward_proxy(
    scheme: str = "http",
    *,
    tls: ssl.SSLContext | None = None,
    user: str = "",
    password: str = "",
    names: dict[str, str] | None = None,
) -> AsyncIterator[ForwardProxy]:
    """One that listens; `names` are addresses of hosts that it alone knows, `tls` is for an https one."""
    proxy = ForwardProxy(scheme, user, password, names)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


async def _pass_on(*ends: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    (one, to_one), (other, to_other) = ends
    await asyncio.gather(pump(one, to_other), pump(other, to_one))
