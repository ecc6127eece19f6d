"""The server that a soak runs on, and the ways to it, with the faults that both can have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from propeller.testing import HttpServerUnderTest, TcpProxy, embedded_http_server, real_server, run_kube_apiserver
from tests.soak.plan import ROUTES, Fault, Kind

_AWAY_BEFORE_IT_IS_FORGOTTEN = 0.5  # seconds in which objects change that nobody follows


class Route(TcpProxy):
    """A proxy whose frozen connections can thaw, and that several outages may close at a time."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._outages = 0
        self._changing = asyncio.Lock()

    def thaw(self) -> None:
        """Let through what waits on frozen connections, and what follows."""
        for connection in self._connections.values():
            connection.flows.set()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Refuse connections until this block, and every other of its kind, is left."""
        async with self._changing:
            self._outages += 1
            if self._outages == 1:
                await self.refuse()
        try:
            yield
        finally:
            async with self._changing:
                self._outages -= 1
                if self._outages == 0:
                    await self.listen()


@dataclass
class Ground:
    """`compact` has the server's store forget old versions, and leaves the server up."""

    face: HttpServerUnderTest
    routes: list[Route]
    compact: Callable[[], Awaitable[None]]
    _server: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who stops it: it can't be stopped twice."""

    async def befall(self, fault: Fault) -> None:
        """Have it happen; returns when it is over and mended. Only half-open connections stay what they are."""
        routes = [self.routes[number] for number in fault.routes]
        match fault.kind:
            case Kind.CUT:
                for route in routes:
                    route.cut()
            case Kind.HALF_OPEN:
                for route in routes:
                    route.freeze()
            case Kind.OUTAGE:
                async with _closed(routes):
                    await asyncio.sleep(fault.seconds)
            case Kind.STALL:
                for route in routes:
                    route.freeze()
                await asyncio.sleep(fault.seconds)
                for route in routes:
                    route.thaw()
            case Kind.SLOW:
                for route in routes:
                    route.throttle(fault.bytes_per_second)
                await asyncio.sleep(fault.seconds)
                for route in routes:
                    route.throttle(None)
            case Kind.PAUSE:
                time.sleep(fault.seconds)
            case Kind.COMPACTION:
                await self.compact()
            case Kind.CRASH:
                async with self._server:
                    await self.face.restart()
            case Kind.FORGOTTEN:
                async with _closed(self.routes), self._server:
                    await asyncio.sleep(max(fault.seconds, _AWAY_BEFORE_IT_IS_FORGOTTEN))
                    await self.face.forget()
            case _:
                assert_never(fault.kind)


@asynccontextmanager
async def _closed(routes: list[Route]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for route in routes:
            await stack.enter_async_context(route.outage())
        yield


@asynccontextmanager
async def kube_apiserver_ground(directory: Path) -> AsyncIterator[Ground]:
    """A kube-apiserver and an etcd of its own, with their files in `directory`."""
    with run_kube_apiserver(directory) as server:

        async def compact() -> None:
            await asyncio.to_thread(server.compact)

        async with real_server(server) as face, _routes(face.url) as routes:
            yield Ground(face, routes, compact)


@asynccontextmanager
async def embedded_ground() -> AsyncIterator[Ground]:
    """The embedded server over HTTP, on the loop of the informers."""
    async with embedded_http_server() as face, _routes(face.url) as routes:
        yield Ground(face, routes, face.forget)


@asynccontextmanager
async def _routes(upstream: str) -> AsyncIterator[list[Route]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Route(upstream)) for _ in range(ROUTES)]
