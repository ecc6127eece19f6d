"""A TCP proxy that injects network faults into connections.

Bytes pass unchanged, TLS included: client and server still verify each other.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


class _Connection:
    """One client's way through; `flows` is clear while it is frozen."""

    def __init__(self, to_client: asyncio.StreamWriter) -> None:
        self.to_client = to_client
        self.flows = asyncio.Event()
        self.flows.set()


class TcpProxy:
    """A proxy before the server at `upstream` (a URL); clients connect to `url`. Use as `async with`."""

    def __init__(self, upstream: str) -> None:
        self._scheme = urlsplit(upstream).scheme
        self.lead_to(upstream)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._bytes_per_second: float | None = None
        self.accepted = 0
        """Connections that clients have made, since the start."""

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    def lead_to(self, upstream: str) -> None:
        """Take new connections to another server (a URL)."""
        parts = urlsplit(upstream)
        assert parts.port is not None
        self._upstream = (parts.hostname or "", parts.port)

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        for connection in self._connections.values():
            connection.to_client.transport.abort()

    def freeze(self) -> None:
        """Leave every connection of now open with nothing passing: half-open, as after a lost route. New ones flow."""
        for connection in self._connections.values():
            connection.flows.clear()

    def throttle(self, bytes_per_second: float | None) -> None:
        """Slow each direction of each connection down; None ends it."""
        self._bytes_per_second = bytes_per_second

    async def refuse(self) -> None:
        """Cut, and refuse new connections, as a closed port does, until `listen`."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.refuse()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = _Connection(to_client)
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(from_client, to_server, connection.flows))
                group.create_task(self._pump(from_server, to_client, connection.flows))
        except* OSError:
            pass  # one side has gone: the other follows below
        except* asyncio.CancelledError:
            pass  # the proxy is being closed, and awaits this task's end
        finally:
            del self._connections[task]
            for writer in (to_client, to_server):
                if writer is not None:
                    writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await source.read(_CHUNK):
            await flows.wait()
            if self._bytes_per_second is not None:
                await asyncio.sleep(len(data) / self._bytes_per_second)
            sink.write(data)
            await sink.drain()
        sink.write_eof()
