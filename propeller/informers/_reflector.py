"""One list and one watch of a kind, for ever: what a store needs to follow an API server.

Guarantees
    Events reach the sink in order; after a cut the watch resumes after the last version seen, a bookmark's included.
    A 410 leads to a new list, handed over as it comes, which the sink can take as a diff. The list is a stream where
    the server has that (KEP-3157), and pages where it does not, or where the stream did not come to the list's end.
    Lists are consistent reads: one is never older than what was seen before, whichever server answers.
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
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from propeller.config import Informers as InformerSettings
from propeller.errors import Invalid, PropellerError, Rejected, Retryable, Stale
from propeller.informers._store import key_of, later, metadata_of
from propeller.informers._uid_shard import UidShard
from propeller.kube import Client, Event, EventType, Resource
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORT_WATCH_SECONDS = 1.0
"""A watch that the server ends sooner is followed by a pause: servers end them after minutes."""


PROGRESS_SECONDS = 0.1
"""How often progress is noted: each time costs more than an event's way into the store."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends a list which comes as a stream (KEP-3157)."""


class Sink(Protocol[T]):
    """Who takes what the reflector brings."""

    def list_begins(self) -> None:
        """A list comes; the one before may not have ended."""

    def listed(self, objects: Iterable[T]) -> None:
        """Some of its objects."""

    def list_ended(self, version: str) -> None:
        """That was the whole list, as of `version`."""

    def happened(self, event: Event[T]) -> None:
        """One event, a bookmark included; while a list comes, an end."""


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
        shard: UidShard | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._settings = settings
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._transform = transform
        self._shard = shard
        self._shard_selector = shard.selector if shard is not None else ""
        self._sharded = False
        """Whether the server keeps to the shard."""
        self._version: str | None = None
        self._refused = False
        """Whether the server does not know lists that come as a stream."""
        self._streams_lists = settings.stream_lists
        self._causes = Causes(log)
        self._backoff = settings.backoff
        self.failures = 0
        """Lists and watches that failed, since the start."""
        self.left_out = 0
        """Objects that could not be read or transformed, each time that they came."""

    async def run(self) -> None:
        while True:
            try:
                if self._version is None and not self._streams_lists:
                    await self._list()
                await self._watch()
            except Stale:
                self._version = None
                await self._pause()  # a server that always says 410 must not be asked without end
            except PropellerError as error:
                if self._version is None and self._streams_lists and _refuses_streams(error):
                    self._refused, self._streams_lists = True, False
                else:
                    await self._failed(error)
            except Exception as error:  # noqa: BLE001 - a defect must not end the following without a sound
                self._version = None  # what was taken is not known: a list tells
                await self._failed(error)

    async def _list(self) -> None:
        self._sink.list_begins()
        version = ""
        async for page in self._client.pages(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            shard_selector=self._shard_selector,
        ):
            for problem in page.problems:
                self._leave_out(Invalid(problem))
            self._sharded = page.shard_selector == self._shard_selector
            self._sink.listed(self._transformed_all(page.items))
            version = page.resource_version
        self._list_ended(version)
        self._streams_lists = self._settings.stream_lists and not self._refused

    def _list_ended(self, version: str) -> None:
        self._version = version
        self._sink.list_ended(version)

    async def _watch(self) -> None:
        """One watch, until the server ends it or nothing comes any more; a list before it where there is none yet."""
        lists = self._version is None
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=self._version or "",
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=self._settings.watch_timeout * random.uniform(1.0, 2.0),
            initial_events=lists,
            shard_selector=self._shard_selector,
        )
        if lists:
            self._sink.list_begins()
        loop = asyncio.get_running_loop()
        began = moved = loop.time()
        try:
            async with asyncio.timeout(self._settings.progress_deadline) as progress:
                async for event in events:
                    if loop.time() - moved > PROGRESS_SECONDS:
                        moved = loop.time()
                        progress.reschedule(moved + self._settings.progress_deadline)
                    if self._version is None:
                        self._take_initial(event)
                    else:
                        self._take(event)
                    self._backoff = self._settings.backoff
        except TimeoutError:
            log.info(
                "%s: nothing came for %g s, resuming the watch", self._resource.plural, self._settings.progress_deadline
            )
        finally:
            await events.aclose()
        if self._version is None:
            self._streams_lists = False  # it did not come to its end: by pages it will, or say why not
        if loop.time() - began < SHORT_WATCH_SECONDS:
            await self._pause()
        else:
            self._backoff = self._settings.backoff

    def _take_initial(self, event: Event[T]) -> None:
        """One event of a list that comes as a stream: its last one is a bookmark that says so. What happens meanwhile
        may come before that.
        """
        if event.type is EventType.BOOKMARK:
            metadata = metadata_of(event.object)
            if (metadata.annotations or {}).get(INITIAL_EVENTS_END) == "true":
                self._list_ended(metadata.resource_version)
        elif not self._is_wanted(event.object):
            return
        elif event.type is EventType.DELETED:
            self._take(event)
        elif (transformed := self._transformed(event.object)) is None:
            self._sink.happened(_left_out(event))
        else:
            self._sink.listed((transformed,))

    def _take(self, event: Event[T]) -> None:
        version = metadata_of(event.object).resource_version
        if version and self._version is not None:
            self._version = later(self._version, version)
        if event.type is not EventType.BOOKMARK and not self._is_wanted(event.object):
            event = Event(EventType.BOOKMARK, event.object)  # of another shard: news of the version alone
        elif event.problem:
            self._leave_out(Invalid(event.problem))
        elif self._transform is not None and event.type is not EventType.BOOKMARK:
            transformed = self._transformed(event.object)
            event = _left_out(event) if transformed is None else Event(event.type, transformed)
        self._sink.happened(event)

    def _is_wanted(self, obj: T) -> bool:
        return self._shard is None or self._sharded or self._shard.holds(metadata_of(obj).uid)

    def _transformed_all(self, objects: Iterable[T]) -> Iterator[T]:
        for obj in objects:
            if not self._is_wanted(obj):
                continue
            if (transformed := self._transformed(obj)) is not None:
                yield transformed

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


def _left_out(event: Event[T]) -> Event[T]:
    return Event(EventType.DELETED, event.object, "it could not be transformed")


def _refuses_streams(error: PropellerError) -> bool:
    """Whether a server does not know what was asked for, as one without lists that come as a stream."""
    return isinstance(error, Rejected) and error.status in {400, 422}
