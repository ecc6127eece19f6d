"""The API server operations that a kubelet uses: an interface, so that it can be tested without a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from propeller.kube._objects import Raw

PodSeen = Callable[[Raw, bool], None]
"""Called with each state of a pod that is seen; the flag is true when the pod is gone. It must not block."""


class Token(msgspec.Struct, frozen=True):
    """A token of a service account; `expires` is the server's time (RFC 3339)."""

    text: str
    expires: str


class EventsApi(Protocol):
    """The operations for writing Events. Every call raises `PropellerError`s as the client does."""

    async def create_event(self, namespace: str, event: Raw) -> None:
        """Create a core/v1 Event."""

    async def patch_event(self, namespace: str, name: str, change: Raw) -> None:
        """Merge into an Event; `NotFound` once it is deleted."""


class Api(EventsApi, Protocol):
    """Every call raises `PropellerError`s as the client does."""

    async def register(self, node: Raw) -> None:
        """Create the node, or replace its status if it exists."""

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Assign an unscheduled pod to the node."""

    async def report(self, namespace: str, name: str, uid: str, status: Raw) -> None:
        """Merge into the status of the pod with this uid; `Conflict` if another pod has the name now."""

    async def remove(self, namespace: str, name: str, uid: str) -> None:
        """Delete the pod with this uid at once: its processes are gone."""

    async def read(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Read a "ConfigMap" or "Secret"; None if it does not exist."""

    async def token(self, pod: Raw, audience: str, seconds: int) -> Token:
        """Request a token of the pod's service account, bound to the pod; "" is the API server's own audience."""

    def watch(self, seen: PodSeen) -> AbstractAsyncContextManager[None]:
        """Report every pod of the cluster and every change until exit; entered when the first list is in."""
