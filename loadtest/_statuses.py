"""Every status of a namespace's workflows that is written: how many, how large, and which workflows have ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from propeller.controller import FLYTE_WORKFLOWS
from propeller.informers import Change, Informer, InformerOptions
from propeller.kube import Client, KubeObject

DEADLINE = 60.0  # seconds for the first list


class Offloaded(msgspec.Struct, frozen=True):
    bytes: int = 0


class Head(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a status that we read."""

    phase: int = 0
    nodes_reference: Offloaded | None = None


class Workflow(KubeObject, frozen=True):
    status: msgspec.Raw = msgspec.Raw(b"{}")


class Statuses:
    """`writes`, their `bytes` in all and the `largest`; `offloaded` are the bytes that went to the object store.

    A write that leaves the status as it was counts as none.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._moved = asyncio.Event()
        self.forget()

    def forget(self) -> None:
        """Count from nothing again."""
        self.writes = 0
        self.bytes = 0
        self.largest = 0
        self.offloaded = 0
        self.ended: set[str] = set()

    @asynccontextmanager
    async def followed(self, client: Client, namespace: str) -> AsyncIterator[None]:
        settings = InformerOptions(progress_deadline=10.0)  # kube-apiserver lets a watch fall silent now and then
        kind = FLYTE_WORKFLOWS.typed(Workflow)
        async with Informer(client, kind, namespace=namespace, settings=settings) as informer:
            await informer.wait_for_sync(DEADLINE)
            informer.subscribe(self._seen)
            yield

    async def wait_written(self, count: int, deadline: float) -> None:
        """Until so many statuses have been written."""
        await self._until(lambda: self.writes >= count, deadline)

    async def wait_ended(self, count: int, deadline: float) -> None:
        """Until so many have ended, all of them well."""
        await self._until(lambda: len(self.ended) >= count, deadline)

    async def _until(self, is_so: Callable[[], bool], deadline: float) -> None:
        async with asyncio.timeout(deadline):
            while not is_so():
                self._moved.clear()
                await self._moved.wait()
                assert not self.failed, f"workflows failed: {self.failed}"

    def _seen(self, change: Change[Workflow]) -> None:
        if change.new is None:
            return
        status = bytes(change.new.status)
        if change.old is not None and bytes(change.old.status) == status:
            return
        head = msgspec.json.decode(status, type=Head)
        if change.old is not None:
            self.writes += 1
            self.bytes += len(status)
            self.largest = max(self.largest, len(status))
            if head.nodes_reference is not None:
                self.offloaded += head.nodes_reference.bytes
        if head.phase in {5, 6}:
            self.failed.append(change.key)
        if head.phase == 3:
            self.ended.add(change.key)
        self._moved.set()
