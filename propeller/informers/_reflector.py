"""One list and one watch of a kind, for ever: what a store needs to follow an API server.

Guarantees
    Events reach the sink in order; after a cut the watch resumes after the last version seen, a bookmark's included.
    A 410 leads to a new list, handed over whole, so that the sink can take it as a diff.
    A stream on which nothing comes for `progress_deadline` seconds is given up and resumed. Bookmarks come every minute
    where the server hears of progress from its store; where it does not, a quiet kind is resumed a little more often.
    `run` ends only by cancellation. Failures are logged once per cause, counted, and retried with jittered backoff,
    and not before the time that the server named, up to the cap; so is a watch that ends as soon as it has begun.
    An object that cannot be read as its type, or that `transform` raises on, is left out as if it were not selected.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from propeller.config import Informers as InformerSettings
from propeller.errors import Invalid, PropellerError, Retryable, Stale
from propeller.informers._store import key_of, later, metadata_of
from propeller.kube import Client, Event, EventType, Resource
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORT_WATCH_SECONDS = 1.0
"""A watch that the server ends sooner is followed by a pause: servers end them after minutes."""


class Sink(Protocol[T]):
    """Who takes what the reflector brings."""

    def listed(self, objects: list[T], version: str) -> None:
        """The whole list, as of `version`."""

    def happened(self, event: Event[T]) -> None:
        """One event, a bookmark included."""


class Reflector(Generic[T]):
    """Follows `resource` in a namespace (None: everywhere) by selectors, into `sink`."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        sink: Sink[T],
        settings: InformerSettings,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        transform: Callable[[T], T] | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._settings = settings
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._transform = transform
        self._version: str | None = None
        self._causes = Causes(log)
        self._backoff = settings.backoff
        self.failures = 0
        """Lists and watches that failed, since the start."""
        self.left_out = 0
        """Objects that could not be read or transformed, each time that they came."""

    async def run(self) -> None:
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except Stale:
                self._version = None
                await self._pause()  # a server that always says 410 must not be asked without end
            except PropellerError as error:
                await self._failed(error)
            except Exception as error:  # noqa: BLE001 - a defect must not end the following without a sound
                self._version = None  # what was taken is not known: a list tells
                await self._failed(error)

    async def _list(self) -> None:
        objects: list[T] = []
        version = ""
        async for page in self._client.pages(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        ):
            for problem in page.problems:
                self._leave_out(Invalid(problem))
            objects.extend(obj for item in page.items if (obj := self._transformed(item)) is not None)
            version = page.resource_version
        self._version = version
        self._sink.listed(objects, version)

    async def _watch(self) -> None:
        """One watch, until the server ends it or nothing comes any more."""
        assert self._version is not None
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=self._settings.watch_timeout * random.uniform(1.0, 2.0),
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._settings.progress_deadline) as progress:
                async for event in events:
                    progress.reschedule(loop.time() + self._settings.progress_deadline)
                    self._take(event)
                    self._backoff = self._settings.backoff
        except TimeoutError:
            log.info(
                "%s: nothing came for %g s, resuming the watch", self._resource.plural, self._settings.progress_deadline
            )
        finally:
            await events.aclose()
        if loop.time() - began < SHORT_WATCH_SECONDS:
            await self._pause()
        else:
            self._backoff = self._settings.backoff

    def _take(self, event: Event[T]) -> None:
        version = metadata_of(event.object).resource_version
        if version and self._version is not None:
            self._version = later(self._version, version)
        if event.problem:
            self._leave_out(Invalid(event.problem))
        elif event.type is not EventType.BOOKMARK:
            transformed = self._transformed(event.object)
            if transformed is None:
                event = Event(EventType.DELETED, event.object, "it could not be transformed")
            else:
                event = Event(event.type, transformed)
        self._sink.happened(event)

    def _transformed(self, obj: T) -> T | None:
        """The object as the sink wants it; None where `transform` raises on it."""
        if self._transform is None:
            return obj
        try:
            return self._transform(obj)
        except Exception as error:  # noqa: BLE001 - it is the caller's function, and one object must not stop the others
            self._leave_out(error, key_of(obj))
            return None

    def _leave_out(self, error: Exception, key: str = "an object") -> None:
        self.left_out += 1
        self._causes.report(error, "%s: %s is left out", self._resource.plural, key)

    async def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._causes.report(error, "%s: following failed, trying again", self._resource.plural)
        await self._pause((error.after if isinstance(error, Retryable) else None) or 0.0)

    async def _pause(self, at_least: float = 0.0) -> None:
        """The backoff; `at_least` the seconds that the server named, where that is not beyond the cap."""
        named = min(at_least, self._settings.backoff_cap) * random.uniform(1.0, 1.1)
        await asyncio.sleep(max(named, self._backoff * random.uniform(0.5, 1.0)))
        self._backoff = min(self._backoff * 2, self._settings.backoff_cap)
