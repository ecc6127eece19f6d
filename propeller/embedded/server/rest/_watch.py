"""Watches: the changes of a selection, in order, as lines of JSON.

Guarantees
    Every change after the watch's start version is sent once, in order of versions; an object that enters the selection
    is ADDED, one that leaves it DELETED.
    A watch costs nothing while nothing in its selection changes; encoded objects are shared, and not copied before they
    are sent.
    If a reader is so slow that the history moves past it, its watch is cut, and it has to resume.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from propeller.embedded.server._errors import Cause, Failure, expired, forbidden_field, invalid
from propeller.embedded.server._responses import Streaming
from propeller.embedded.server._storage import Change, Collection, Expired, Record, Storage
from propeller.embedded.server.negotiation._render import EventEncoder, bookmark, error_event, event_encoder
from propeller.embedded.server.negotiation._requests import META_GROUP, Call, is_true, number_in
from propeller.embedded.server.rest._selection import Selection, selection_of
from propeller.errors import Unavailable

_BATCH = 500
"""Changes that are joined into one chunk: 1.5 MB of pods."""

_MIN_DELAY = 1e-6
"""Seconds. A shorter delay is now, for ever: a virtual clock would not move on."""

_LAST_BOOKMARK = 2.0
"""Seconds before its end at which a watch gets its last bookmark."""

_DEFAULT_TIMEOUT = 1800.0
"""Seconds, times up to two: kube-apiserver's --min-request-timeout."""


class Watch:
    """One open watch. `chunks` may be read once."""

    def __init__(
        self,
        call: Call,
        storage: Storage,
        *,
        selection: Selection,
        encoder: EventEncoder,
        after: int,
        position: int,
        initial: list[Record] | None,
        ends_initial: bool,
        bookmarks: float,
        timeout: float,
        open_watches: dict[Watch, None],
    ) -> None:
        self._call = call
        self._storage = storage
        self._collection: Collection = call.target.kind.collection
        self._selection = selection
        self._encoder = encoder
        self._after = after
        """The version that the client has seen: it may be a future one, if the server was restored since."""
        self._position = position
        self._initial = initial
        self._end_of_initial = bookmark(call, storage.version, ends_initial=True) if ends_initial else b""
        self._bookmark_every = bookmarks
        self._timeout = timeout
        self._open_watches = open_watches
        self._waiter: asyncio.Future[None] | None = None
        self._bookmark_due = False
        self._over = False
        self._cut = ""

    def notice(self, change: Change) -> bool:
        """For the collection: whether to go on waiting, because the change is none of this watch's business."""
        if not self._concerns(change):
            self._position = self._collection.history.end  # seen all before, and this one is nothing to see
            return True
        self._wake()
        return False

    def end(self, cut: str = "") -> None:
        """End the stream, as if by itself or, with a reason, by a cut."""
        self._over = True
        self._cut = cut
        self._wake()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the lines. Raises Unavailable if the stream was cut."""
        loop = asyncio.get_running_loop()
        self._open_watches[self] = None
        timers = [loop.call_later(self._timeout, self.end)]
        if self._bookmark_every:
            ends = loop.time() + self._timeout
            self._plan_bookmark(loop, timers, ends)
        try:
            while self._initial and not self._over:
                yield self._next_initial()
            if self._end_of_initial:
                yield self._end_of_initial
            while not self._over:
                chunk = self._next()
                if chunk:
                    yield chunk
                elif not self._over:
                    await self._wait(loop)
            if self._cut:
                raise Unavailable(f"the stream was cut: {self._cut}")
        finally:
            self._collection.waiting.pop(self, None)
            for timer in timers:
                timer.cancel()
            self._open_watches.pop(self, None)

    def _next_initial(self) -> bytes:
        assert self._initial is not None
        batch, self._initial = self._initial[:_BATCH], self._initial[_BATCH:]
        return b"".join([piece for record in batch for piece in self._encoder("ADDED", record)])

    def _next(self) -> bytes:
        """Return new changes, or a due bookmark; b"" if there is neither."""
        while changes := self._collection.history.since(self._position, _BATCH):
            self._position += len(changes)
            if chunk := b"".join([piece for change in changes for piece in self._encoded(change)]):
                return chunk
        if changes is None:
            self._over = True  # too slow: the history has moved on
        elif self._collection.dropped:
            self._over = True
        elif self._bookmark_due:
            self._bookmark_due = False
            return bookmark(self._call, self._storage.version)
        return b""

    def _encoded(self, change: Change) -> Sequence[bytes]:
        """Return the line of a change as this watch sees it; nothing if it is outside the selection."""
        before, after = change.before, change.after
        selection = self._selection
        if change.version <= self._after:
            return ()
        if not selection.is_selective:
            if selection.namespace and after.namespace != selection.namespace:
                return ()
            was, is_ = before is not None, not change.deleted
        else:
            was = before is not None and selection.matches(before)
            is_ = not change.deleted and selection.matches(after)
        if is_:
            return self._encoder("MODIFIED" if was else "ADDED", after)
        if not was:
            return ()
        assert before is not None
        # an object that leaves the selection is sent in its last state within it
        return self._encoder("DELETED", after if change.deleted else before.at(change.version))

    def _concerns(self, change: Change) -> bool:
        selection = self._selection
        if not selection.is_selective:
            return not selection.namespace or selection.namespace == change.after.namespace
        return selection.matches(change.after) or (change.before is not None and selection.matches(change.before))

    def _want_bookmark(self, timers: list[asyncio.TimerHandle], ends: float) -> None:
        self._bookmark_due = True
        self._plan_bookmark(asyncio.get_running_loop(), timers, ends)
        self._wake()

    def _plan_bookmark(self, loop: asyncio.AbstractEventLoop, timers: list[asyncio.TimerHandle], ends: float) -> None:
        """Schedule the next bookmark; the last one comes shortly before the end, so that a client that resumes is up to
        date.
        """
        delay = min(self._bookmark_every, ends - _LAST_BOOKMARK - loop.time())
        if delay > _MIN_DELAY:
            timers[1:] = [loop.call_later(delay, self._want_bookmark, timers, ends)]

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiter = loop.create_future()
        self._collection.waiting[self] = None
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._collection.waiting.pop(self, None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def open_watch(
    call: Call,
    storage: Storage,
    *,
    bookmark_interval: float,
    now: Callable[[], float],
    open_watches: dict[Watch, None],
    randomness: random.Random,
) -> Streaming:
    """Return the response of a watch, which is in `open_watches` while it is read.

    Raises Failure for invalid options; a version that is too old is reported in the stream.
    """
    query, kind = call.query, call.target.kind
    _validate(query)
    selection = selection_of(call.target, query)
    timeout = number_in(query, "timeoutSeconds") or _DEFAULT_TIMEOUT * randomness.uniform(1, 2)
    version = _version(query)
    initial_asked = is_true(query, "sendInitialEvents")
    initial, position = None, kind.collection.history.end
    if initial_asked or (version == 0 and "sendInitialEvents" not in query):
        records = map(kind.collection.records.__getitem__, kind.collection.keys(selection.namespace))
        initial = [record for record in records if selection.matches(record)]
    elif version:
        try:
            position = kind.collection.history.position_after(version)
        except Expired as error:
            return _refused(expired(f"too old resource version: {version} ({error.floor})"))
    wants_bookmarks = is_true(query, "allowWatchBookmarks")
    watch = Watch(
        call,
        storage,
        selection=selection,
        encoder=event_encoder(call, now),
        after=version,
        position=position,
        initial=initial,
        ends_initial=initial_asked and wants_bookmarks,
        bookmarks=bookmark_interval * randomness.uniform(0.75, 1.0) if wants_bookmarks else 0,
        timeout=timeout,
        open_watches=open_watches,
    )
    return Streaming(chunks=watch.chunks)


def _refused(failure: Failure) -> Streaming:
    """Return a watch that ends with an error: failures after valid options are reported this way."""

    async def chunks() -> AsyncIterator[bytes]:
        yield error_event(failure.status())

    return Streaming(chunks=chunks)


def _version(query: Mapping[str, str]) -> int:
    text = query.get("resourceVersion", "")
    if text and not text.isdecimal():
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise Failure(500, "", why)
    return int(text or 0)


def _validate(query: Mapping[str, str]) -> None:
    causes: list[Cause] = []
    match, field = query.get("resourceVersionMatch", ""), "resourceVersionMatch"
    if "sendInitialEvents" in query and match != "NotOlderThan":
        causes.append(forbidden_field(field, f"sendInitialEvents requires setting {field} to NotOlderThan"))
    if match:
        if "sendInitialEvents" not in query:
            causes.append(
                forbidden_field(field, f"{field} is forbidden for watch unless sendInitialEvents is provided")
            )
        if query.get("continue"):
            causes.append(forbidden_field(field, f"{field} is forbidden when continue is provided"))
    if causes:
        raise invalid(META_GROUP, "ListOptions", "", causes)
