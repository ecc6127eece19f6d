"""Connect to the clusters of a routing table: by a kubeconfig, by one in a Secret, or to the cluster around this pod.

Guarantees
    What is wrong with one connection is that cluster's trouble alone. No secret is in a message.
    A Secret's kubeconfig names neither files nor commands of this machine.
Errors
    Invalid for a kubeconfig that is wrong; NotFound, Denied and Unavailable of the Secret that has it.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import Denied, Invalid, NotFound
from propeller.kube import (
    NAMESPACES,
    SECRETS,
    Client,
    ClientOptions,
    Connection,
    KubeObject,
    connect,
    load_connection,
    parse_connection,
)
from propeller.routing import Access

IDENTITY_NAMESPACE = "kube-system"
"""The namespace whose uid tells one cluster from another: every cluster has it, and it is never deleted."""


class Opener(Protocol):
    """Opens clients of the clusters of a table."""

    def open(self, access: Access) -> AbstractAsyncContextManager[Client | None]:
        """A client, closed with the block; None if it is the cluster of the FlyteWorkflows. Raises PropellerError."""
        ...

    async def has_changed(self, access: Access) -> bool:
        """Whether a client that is opened now would have another address or other credentials than the last one."""
        ...


class Connector:
    """Implements `Opener`. `control` is the connection of the FlyteWorkflows' cluster, `client` one of its clients."""

    def __init__(
        self, client: Client, control: Connection, settings: ClientOptions, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._control = control
        self._settings = settings
        self._clock = clock
        self._last: dict[Access, Connection] = {}

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        connection = self._last[access] = await self._connection(access)
        if connection.server == self._control.server:
            yield None
            return
        async with connect(connection, self._settings, clock=self._clock) as client:
            yield client

    async def has_changed(self, access: Access) -> bool:
        return await self._connection(access) != self._last.get(access)

    async def _connection(self, access: Access) -> Connection:
        if access.in_cluster:
            return self._control
        if access.secret is None:
            return load_connection(access.kubeconfig or None, access.context or None)
        secret = access.secret
        where = f"of key {secret.key!r} in Secret {secret.namespace}/{secret.name}"
        data = (await self._client.get(SECRETS, secret.name, secret.namespace)).get("data") or {}
        if not isinstance(found := data.get(secret.key), str):
            raise NotFound(f"Secret {secret.namespace}/{secret.name} has no key {secret.key!r}", status=404)
        try:
            kubeconfig = base64.b64decode(found, validate=True)
        except ValueError as error:
            raise Invalid(f"the kubeconfig {where} is not base64") from error
        return parse_connection(kubeconfig, where, access.context or None)


async def control_identity(client: Client, named: str) -> str:
    """Return the name of the FlyteWorkflows' cluster in labels: `named`, or the uid of its namespace kube-system.

    Raises Invalid if that may not be read.
    """
    if named:
        return named
    try:
        return (await client.get(NAMESPACES.typed(KubeObject), IDENTITY_NAMESPACE)).metadata.uid
    except (Denied, NotFound) as error:
        raise Invalid(
            "the cluster of the FlyteWorkflows needs a name for its resources in other clusters: set clusters.control, "
            f"or grant get on the namespace {IDENTITY_NAMESPACE}: {error}"
        ) from error
