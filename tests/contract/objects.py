"""Objects for the contract suite, and ways to look at what a server does with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from propeller.errors import NotFound, PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Event, EventType, Raw, Resource
from propeller.testing import eventually

DEADLINE = 60.0
"""Seconds within which what a test waits for has come on any machine; reaching it fails the test."""


async def installed(client: Client, definition: Raw, resource: Resource[Any]) -> None:
    """Have a type, which is a whole server's: other tests may have installed it."""
    try:
        await client.get(CUSTOM_RESOURCE_DEFINITIONS, definition["metadata"]["name"])
    except NotFound:
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)

    async def is_served() -> bool:
        try:
            await client.list(resource)
        except NotFound:
            return False
        return True

    await eventually(is_served, deadline=DEADLINE)


def config_map(name: str, /, *, labels: Any = None, **data: str) -> Raw:
    """`labels` is a mapping of text, or None."""
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def pod(name: str, /, *, node: str = "", labels: dict[str, str] | None = None, **metadata: Any) -> Raw:
    """A pod of one container. `node` binds it at birth; `metadata` is whatever else goes there."""
    spec: Raw = {"containers": [{"name": "main", "image": "none"}], "restartPolicy": "Never"}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "labels": labels or {}, **metadata}, "spec": spec}


def nameless(prefix: str) -> Raw:
    """A config map that the server is to name."""
    return {"metadata": {"generateName": prefix}}


def version(obj: Any) -> int:
    """An object's resourceVersion as a number."""
    metadata = obj["metadata"]["resourceVersion"] if isinstance(obj, dict) else obj.metadata.resource_version
    return int(metadata)


class Watched:
    """What a watch has brought so far."""

    def __init__(self) -> None:
        self.events: list[Event[Any]] = []
        self._news = asyncio.Condition()
        self._error: BaseException | None = None
        self.ended = False

    @property
    def changes(self) -> list[Event[Any]]:
        """All events but bookmarks."""
        return [event for event in self.events if event.type is not EventType.BOOKMARK]

    @property
    def bookmarks(self) -> list[Event[Any]]:
        return [event for event in self.events if event.type is EventType.BOOKMARK]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """The first `count` changes as (type, name), when they have come."""
        await self.until(lambda: len(self.changes) >= count)
        return [(str(event.type), name_of(event.object)) for event in self.changes[:count]]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it; raises what the watch raised, and TimeoutError where it never comes."""
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: condition() or self.ended)
        if self._error is not None:
            raise self._error
        assert condition(), f"the watch ended after {len(self.events)} events, the last of them {self.events[-3:]}"

    async def end(self) -> None:
        await self.until(lambda: self.ended)

    async def follow(self, events: AsyncIterator[Event[Any]]) -> None:
        try:
            async for event in events:
                async with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        except PropellerError as error:
            self._error = error
        async with self._news:
            self.ended = True
            self._news.notify_all()


@asynccontextmanager
async def watching(
    client: Client, resource: Resource[Any], namespace: str | None, resource_version: str, **options: Any
) -> AsyncIterator[Watched]:
    """A watch that is followed until the block is left."""
    watched = Watched()
    async with aclosing(client.watch(resource, namespace, resource_version=resource_version, **options)) as events:
        task = asyncio.create_task(watched.follow(events))
        try:
            yield watched
        finally:
            task.cancel()
            await asyncio.wait([task])


async def version_now(client: Client, resource: Resource[Any], namespace: str | None = None) -> str:
    """The version of a list made now: where a watch for what comes next begins."""
    return (await client.list(resource, namespace, limit=1)).resource_version


def name_of(obj: Any) -> str:
    return str(obj["metadata"]["name"] if isinstance(obj, dict) else obj.metadata.name)
