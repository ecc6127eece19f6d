"""TLS before a PostgreSQL server, as PgBouncer or a cloud's proxy has it: the server of these tests is built without.

It answers SSLRequest as the protocol says (https://www.postgresql.org/docs/current/protocol-flow.html, SSL Session
Encryption), and passes on what is then said.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.testing import Pair

_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
_PIECE = 65536


class Front:
    """See the module's text. `secured` counts the connections that came to speak TLS."""

    def __init__(self, to: int, certificate: Pair) -> None:
        self._to = to
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._serving: set[asyncio.Task[None]] = set()
        self.secured = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # a client that refuses goes away
                await self._serve(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._context)
        self.secured += 1
        of_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, to_server))
                group.create_task(_pass(of_server, writer))
        finally:
            to_server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()
