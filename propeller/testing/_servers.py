"""One protocol for both API servers, so that a test runs on each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from propeller.embedded.server import ApiServer, Front
from propeller.kube import NAMESPACES, Client, ClientOptions, Connection, connect
from propeller.testing._kube_apiserver import KubeApiserver

_numbers = itertools.count(1)


class ServerUnderTest(Protocol):
    """One running server. `client` is the administrator's; `namespace` is fresh."""

    client: Client
    namespace: str

    async def another_namespace(self) -> str:
        """A second one, as fresh."""

    async def forget(self) -> None:
        """Have the server forget all versions before now."""


class HttpServerUnderTest(ServerUnderTest, Protocol):
    """A server that is reached over TCP, and can be stopped."""

    url: str

    def kubeconfig(self) -> dict[str, Any]:
        """The administrator's, for commands."""

    def connect(
        self, *, token: str | None = None, server: str = "", settings: ClientOptions | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """One more client, with credentials of its own; `server` is the URL of a proxy before the server, if any."""

    async def restart(self) -> None:
        """Crash, and come back with the same data under the same address; watch history is lost."""


class _Real:
    def __init__(self, server: KubeApiserver, client: Client, namespace: str) -> None:
        self._server = server
        self.client = client
        self.namespace = namespace
        self.url = server.url

    async def another_namespace(self) -> str:
        return await make_namespace(self.client)

    def kubeconfig(self) -> dict[str, Any]:
        return self._server.kubeconfig_document()

    def connect(
        self, *, token: str | None = None, server: str = "", settings: ClientOptions | None = None
    ) -> AbstractAsyncContextManager[Client]:
        chosen = self._server.token if token is None else token
        return connect(self._server.connection(token=chosen, server=server), settings)

    async def forget(self) -> None:
        self._server.compact()
        await self.restart()  # its watch cache remembers compacted revisions

    async def restart(self) -> None:
        self._server.stop(crash=True)
        self._server.spawn()
        await asyncio.to_thread(self._server.wait)


@asynccontextmanager
async def real_server(server: KubeApiserver) -> AsyncIterator[HttpServerUnderTest]:
    """A fresh namespace on a kube-apiserver that runs."""
    async with connect(server.connection()) as client:
        yield _Real(server, client, await make_namespace(client))


class _Embedded:
    """The embedded server through its in-memory transport."""

    def __init__(self, server: ApiServer, client: Client, namespace: str) -> None:
        self._server = server
        self.client = client
        self.namespace = namespace

    async def another_namespace(self) -> str:
        return await make_namespace(self.client)

    async def forget(self) -> None:
        self._server.compact()


class _EmbeddedHttp(_Embedded):
    """The embedded server over HTTP."""

    def __init__(self, server: ApiServer, front: Front, client: Client, namespace: str) -> None:
        super().__init__(server, client, namespace)
        self._front = front
        self.url = front.url

    def kubeconfig(self) -> dict[str, Any]:
        return self._front.kubeconfig()

    def connect(
        self, *, token: str | None = None, server: str = "", settings: ClientOptions | None = None
    ) -> AbstractAsyncContextManager[Client]:
        chosen = self._front.token if token is None else token
        return connect(Connection(server=server or self.url, token=chosen), settings)

    async def restart(self) -> None:
        self._server.stop()
        await asyncio.sleep(0.1)
        self._server.start()


@asynccontextmanager
async def embedded_server(*, controllers: bool = True) -> AsyncIterator[ServerUnderTest]:
    """The embedded server, in memory; `controllers` as in ApiServer."""
    async with ApiServer(controllers=controllers) as server:
        client = Client(server.transport())
        yield _Embedded(server, client, await make_namespace(client))


@asynccontextmanager
async def embedded_http_server() -> AsyncIterator[HttpServerUnderTest]:
    """The embedded server over HTTP."""
    async with (
        ApiServer() as server,
        server.serve() as front,
        connect(Connection(server=front.url, token=front.token)) as client,
    ):
        yield _EmbeddedHttp(server, front, client, await make_namespace(client))


async def make_namespace(client: Client) -> str:
    name = f"test-{next(_numbers)}"
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    return name
