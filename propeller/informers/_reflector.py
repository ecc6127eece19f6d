"""Reflector: lists and watches one kind for ever, so that a store can follow the API server.

Guarantees
    Events reach the sink in order; after a cut the watch resumes after the last version seen, a bookmark's included.
    A 410 leads to a new list, handed over as it comes, which the sink can take as a diff. The list is a stream if the
    server supports that (KEP-3157), and pages if it does not, or if the stream ended before the list (see Pager).
    Lists are consistent reads: a list is never older than the events before, whichever server answers.
    A watch that brought nothing and failed, or ended within a second, leads to a new list, as in client-go; so do
    `FRUITLESS_WATCHES` in a row that brought nothing, however they ended. A watch that answered 429 is tried again.
    A stream without an event for `progress_deadline` seconds is given up, and everything is listed again. Servers send
    bookmarks every minute.
    A server restored from an older copy is noticed: before a watch is resumed, and when an event or bookmark is older
    than one before, the server is asked for its version (a list of one object's metadata). If that is older than the
    version held, everything is listed again. A server that was restored during a gap may have passed that version
    since; therefore a connection that failed leads to a list, and so does an answer that comes later than `max_unseen`
    after the end of the watch, whether the server or a pause of ours took the time.
    `run` ends only by cancellation. Failures are logged once per cause, counted, and retried with jittered backoff,
    and not before the time that the server named, up to the cap. So are watches that end before their time: an event
    that came does not shorten the pauses, but the time that a watch was open counts as part of its pause. One that the
    server ends after `BUSY_WATCH_EVENTS` is resumed after one `backoff` at most, which does not grow.
    An object that cannot be decoded, or that `transform` raises on, goes to the sink as Undecodable.
Caveats
    A restore that takes less than `max_unseen` (one `backoff` and a second), by a server that has passed the version
    held in that time, is noticed only by the objects that change afterwards. Kubernetes has API servers stopped for a
    restore, and one takes longer to start.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Generic, TypeVar

from propeller.errors import PropellerError, Rejected, ResourceExpired, Retryable, Throttled, Unavailable
from propeller.informers._filter import Filter
from propeller.informers._options import InformerOptions
from propeller.informers._pager import Pager
from propeller.informers._selection import Selection
from propeller.informers._sink import Sink
from propeller.informers._store import metadata_of, went_back
from propeller.kube import Client, Event, EventType, Resource, Undecodable
from propeller.pauses import Pauses
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORT_WATCH_SECONDS = 1.0
"""A watch that the server ends sooner is followed by a pause: servers end them after minutes."""

BUSY_WATCH_EVENTS = 100
"""Events of a watch that the server ends although nothing is wrong: kube-apiserver ends those of clients that it cannot
serve fast enough in a burst. To resume one costs little after so many, and until then the cache is late.
"""

FRUITLESS_WATCHES = 2
"""Watches in a row without an event or bookmark, after which everything is listed again."""

PROGRESS_SECONDS = 0.1
"""How often progress is noted: each time costs more than an event's way into the store."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends a list which comes as a stream (KEP-3157)."""


class Reflector(Generic[T]):
    """Follows the selected objects of `resource`, into `sink`."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        sink: Sink[T],
        settings: InformerOptions,
        selection: Selection,
        *,
        transform: Callable[[T], T] | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._settings = settings
        self._selection = selection
        self._causes = Causes(log)
        self._filter = Filter(resource.plural, selection.shard, transform, self._causes)
        self._pager = Pager(client, resource, selection, sink, self._filter, self._causes, self._begin_list)
        self._version: str | None = None
        self._refused = False
        """Whether the server does not know lists that come as a stream."""
        self._streams_lists = settings.stream_lists
        self._pauses = Pauses(settings.backoff, settings.backoff_cap)
        self._lasted = 0.0
        """Seconds for which the watch was open that has just ended, 0 after anything else."""
        self._asked = False
        """Whether `relist` was called, and the list has not begun."""
        self._progress: asyncio.Timeout | None = None
        """Of the watch that is open."""
        self._doubt = False
        """Whether the server may have been restored since its version was seen: after every watch."""
        self._seen_at = 0.0
        """Loop time at which the server was last known to have the history that is held."""
        self._fruitless = 0
        """Watches since the last that brought something."""
        self.failures = 0
        """Lists and watches that failed, since the start."""
        self.lists = 0
        """Begun, since the start, also those that come as a stream; as are `watches`."""
        self.watches = 0

    @property
    def max_unseen(self) -> float:
        """Seconds between a watch and the next within which no relist is needed."""
        return self._settings.backoff + SHORT_WATCH_SECONDS

    def relist(self) -> int:
        """List everything again after a pause, and give up a watch. Returns which of `lists` that will be."""
        self._asked = True
        if self._progress is not None and not self._progress.expired():
            self._progress.reschedule(asyncio.get_running_loop().time())
        return self.lists + 1

    async def run(self) -> None:
        while True:
            self._lasted = 0.0
            try:
                if self._asked:
                    self._version = None
                    await self._pause()
                if self._version is None and not self._streams_lists:
                    await self._list()
                    if self._asked:
                        continue
                if self._doubt and self._version is not None:
                    await self._compare_versions(self._version)
                else:
                    await self._watch()
            except ResourceExpired:
                self._version = None
                await self._pause()  # a server that always says 410 must not be asked without end
            except PropellerError as error:
                if self._version is None and self._streams_lists and _refuses_streams(error):
                    self._refused, self._streams_lists = True, False
                else:
                    await self._failed(error)
            except Exception as error:  # noqa: BLE001 - a defect must not end the following without a sound
                self._version = None  # the sink may have missed events: list again
                await self._failed(error)

    async def _list(self) -> None:
        self._list_ended(await self._pager.list())
        self._streams_lists = self._settings.stream_lists and not self._refused

    def _begin_list(self) -> None:
        self.lists += 1
        self._asked = False
        self._sink.on_list_start()

    def _list_ended(self, version: str) -> None:
        self._version = version
        self._doubt, self._fruitless = False, 0
        self._seen_at = asyncio.get_running_loop().time()
        self._sink.on_list_end(version)

    async def _compare_versions(self, held: str) -> None:
        """Ask for the server's version: one older than that held is that of a server which was restored. A server that
        answers late, or not at all, may have been restored and have passed it.
        """
        try:
            page = await self._client.list(self._resource.metadata_only(), self._selection.namespace, limit=1)
        except (ResourceExpired, Throttled):
            raise
        except PropellerError:
            self._version = None
            raise
        self._doubt = False
        now = asyncio.get_running_loop().time()
        if now - self._seen_at > self.max_unseen:
            self._version = None
        self._seen_at = now
        if went_back(held, page.resource_version):
            log.warning(
                "%s: the server's versions went back from %s to %s, as after a restore: listing anew",
                self._resource.plural,
                held,
                page.resource_version,
            )
            self._version = None

    async def _watch(self) -> None:
        """One watch, until it ends or is silent for too long; it begins with a list if there is none yet."""
        lists = self._version is None
        timeout = self._settings.watch_timeout * random.uniform(1.0, 2.0)
        events = self._client.watch(
            self._resource,
            self._selection.namespace,
            resource_version=self._version or "",
            label_selector=self._selection.label_selector,
            field_selector=self._selection.field_selector,
            timeout_seconds=timeout,
            initial_events=lists,
            shard_selector=self._selection.shard_selector,
        )
        if lists:
            self._begin_list()
        self.watches += 1
        loop = asyncio.get_running_loop()
        began = moved = loop.time()
        brought, silent = 0, False
        try:
            async with asyncio.timeout(self._settings.progress_deadline) as progress:
                self._progress = progress
                async for event in events:
                    if loop.time() - moved > PROGRESS_SECONDS and not self._asked:
                        moved = loop.time()
                        progress.reschedule(moved + self._settings.progress_deadline)
                    if self._version is None:
                        self._handle_initial(event)
                        continue
                    brought += 1
                    if not self._handle(event):
                        break
        except TimeoutError:
            if self._asked:
                return
            silent = True
            log.info("%s: nothing came for %g s", self._resource.plural, self._settings.progress_deadline)
        except PropellerError as error:
            if brought:
                self._seen_at = loop.time()
            if not isinstance(error, ResourceExpired | Throttled):
                self._ended(brought > 0, failed=True)
            raise
        finally:
            self._progress = None
            self._lasted = loop.time() - began
            self._doubt = True
            await events.aclose()
        self._seen_at = loop.time()
        if self._version is None:
            self._streams_lists = False  # it ended before the list: try pages
        elif silent:
            self._version = None  # events may have been missed
        short, early = self._lasted < SHORT_WATCH_SECONDS, self._lasted < int(timeout) - 1
        self._ended(brought > 0 or lists, failed=short and not silent)
        if short and not (brought or lists):
            raise Unavailable(f"the watch of {self._resource.plural} ended within a second and brought nothing")
        if brought >= BUSY_WATCH_EVENTS:
            await asyncio.sleep(self._settings.backoff * random.uniform(0.5, 1.0) - self._lasted)
        elif short or early:
            await asyncio.sleep(self._pauses.failed(loop.time()) - self._lasted)

    def _ended(self, brought: bool, *, failed: bool) -> None:
        """Decide after a watch whether to resume it or to list again."""
        self._fruitless = 0 if brought else self._fruitless + 1
        if not brought and (failed or self._fruitless >= FRUITLESS_WATCHES):
            self._version = None

    def _handle_initial(self, event: Event[T]) -> None:
        """Handle one event of a list that comes as a stream: a bookmark marks its end. Events of the time since it
        began may come before that.
        """
        if event.type is EventType.BOOKMARK:
            metadata = metadata_of(event.object)
            if (metadata.annotations or {}).get(INITIAL_EVENTS_END) == "true":
                self._list_ended(metadata.resource_version)
        elif not self._filter.is_wanted(event.object):
            return
        elif event.type is EventType.DELETED:
            self._handle(event)
        elif event.undecodable is not None:
            self._sink.on_list_undecodable(event.undecodable)
        elif isinstance(transformed := self._filter.transformed(event.object), Undecodable):
            self._sink.on_list_undecodable(transformed)
        else:
            self._sink.on_list_page((transformed,))

    def _handle(self, event: Event[T]) -> bool:
        """Handle one event of a watch; returns False if it is older than an earlier one, as the server lags or was
        restored.
        """
        version = metadata_of(event.object).resource_version
        if version and self._version is not None:
            if not went_back(self._version, version):
                self._version = version
            elif event.type is not EventType.DELETED:
                return False
        if not self._filter.is_open:
            event = self._filter.event(event)
        self._sink.on_event(event)
        return True

    async def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._causes.report(error, "%s: following failed, trying again", self._resource.plural)
        await self._pause((error.after if isinstance(error, Retryable) else None) or 0.0)

    async def _pause(self, at_least: float = 0.0) -> None:
        """Sleep for the backoff, less the time that a watch was open; `at_least` is the server's Retry-After, up to the
        cap. Never nothing: after an outage all clients come back, and are to be spread.
        """
        named = min(at_least, self._settings.backoff_cap) * random.uniform(1.0, 1.1)
        pause = self._pauses.failed(asyncio.get_running_loop().time()) - self._lasted
        await asyncio.sleep(max(named, pause, self._settings.backoff * random.uniform(0.5, 1.0)))


def _refuses_streams(error: PropellerError) -> bool:
    """Whether the error is that of a server without streaming lists."""
    return isinstance(error, Rejected) and error.status in {400, 422}
