"""What a kubelet needs of an API server, and no more: a seam, so that a kubelet is tested without one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from propeller.kube._objects import Raw

PodSeen = Callable[[Raw, bool], None]
"""Called with each state of a pod that is seen; the flag is true when the pod is gone. It must not block."""


class EventsApi(Protocol):
    """What is needed to write Events. Every call raises `PropellerError`s as the client does."""

    async def create_event(self, namespace: str, event: Raw) -> None:
        """Create a core/v1 Event."""

    async def patch_event(self, namespace: str, name: str, change: Raw) -> None:
        """Merge into an Event; `NotFound` once it is deleted."""


class Api(EventsApi, Protocol):
    """Every call raises `PropellerError`s as the client does."""

    async def register(self, node: Raw) -> None:
        """Create the node or, where it exists, replace its status."""

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        """Assign an unscheduled pod to the node."""

    async def report(self, namespace: str, name: str, uid: str, status: Raw) -> None:
        """Merge into the status of the pod with this uid; `Conflict` where another pod has the name now."""

    async def remove(self, namespace: str, name: str, uid: str) -> None:
        """Delete the pod with this uid at once: its processes are gone."""

    async def read(self, kind: str, namespace: str, name: str) -> Raw | None:
        """A "ConfigMap" or "Secret"; None where it does not exist."""

    def watch(self, seen: PodSeen) -> AbstractAsyncContextManager[None]:
        """Report every pod of the cluster and every change until exit; entered when the first list is in."""
