"""The cache of task outputs: look them up, put them, evict them.

Guarantees
    Nothing here fails or blocks a task: a store that is slow (`catalog.deadline`), failing or down is as good as no
    cache. It is logged once per cause, and after three failures in a row the store is left alone for a while.
    An entry is used only if it is whole, of the key that it is stored under, and of the task's interface, and if the
    files that it refers to are there. Any other is a miss; it is removed, so that it can be put again, and logged.
    Of two tasks that put the same key, the first one's outputs stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from flyteidl.core import tasks_pb2

from propeller.catalog._backend import Backend
from propeller.catalog._entries import Origin, encode_entry, origin_of
from propeller.catalog._key import ENTRY, Key
from propeller.catalog._options import CatalogOptions
from propeller.catalog._reservations import Reservations
from propeller.catalog._validity import check_outputs
from propeller.clock import Clock
from propeller.errors import CorruptBlob, Invalid, PropellerError, StorageError
from propeller.storage import Storage, in_thread_if_large, uri_of
from propeller.telemetry import CatalogMetrics, Causes
from propeller.wire import Literals
from propeller.workflow import CacheStatus

_log = logging.getLogger(__name__)

FAILURES = 3
"""In a row until the store is left alone: 5 % of failures must not switch the cache off."""

FILES_AT_ONCE = 16
"""Files of one entry that are looked for at once."""

T = TypeVar("T")


class Lookup(msgspec.Struct, frozen=True):
    """HIT, with where the outputs come from; MISS; or LOOKUP_FAILURE."""

    status: CacheStatus
    origin: Origin | None = None


_MISS, _FAILURE = Lookup(CacheStatus.MISS), Lookup(CacheStatus.LOOKUP_FAILURE)


class Catalog:
    """See the module's text."""

    def __init__(
        self, backend: Backend, storage: Storage, options: CatalogOptions, clock: Clock, metrics: CatalogMetrics
    ) -> None:
        self._backend = backend
        self._storage = storage
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._causes = Causes(_log)
        self._failures = 0
        self._closed_until = 0.0
        self.reservations = Reservations(backend, options, clock, metrics, self._causes)

    async def look_up(self, key: Key, task: tasks_pb2.TaskTemplate, target: str, *, is_item: bool = False) -> Lookup:
        """Look for the outputs of a computation, maybe of one item of a map task. On a hit they are at the URI
        `target`.
        """
        if self._is_closed():
            self._metrics.lookups.counts["skipped",] += 1
            return _FAILURE
        try:
            found, outcome = await self._in_time(self._look_up(key, task, target, is_item=is_item))
        except PropellerError as error:
            self._failed(error, "the cache cannot be read: tasks run uncached")
            self._metrics.lookups.counts["failure",] += 1
            return _FAILURE
        self._failures = 0
        self._metrics.lookups.counts[outcome,] += 1
        return found

    async def put(self, key: Key, outputs: bytes, origin: Origin, *, overwrite: bool) -> CacheStatus:
        """Store the outputs of a computation: POPULATED, or PUT_FAILURE."""
        if self._is_closed():
            self._metrics.puts.counts["skipped",] += 1
            return CacheStatus.PUT_FAILURE
        try:
            entry = encode_entry(Literals(outputs), origin, self._storage.settings.max_blob_bytes, key.path)
            await self._in_time(self._backend.put(key.path, entry, overwrite=overwrite))
        except PropellerError as error:
            self._failed(error, "outputs cannot be cached")
            self._metrics.puts.counts["failure",] += 1
            return CacheStatus.PUT_FAILURE
        self._failures = 0
        self._metrics.puts.counts["ok",] += 1
        return CacheStatus.POPULATED

    async def close(self) -> None:
        """End the backend's connections."""
        await self._backend.close()

    async def _look_up(
        self, key: Key, task: tasks_pb2.TaskTemplate, target: str, *, is_item: bool
    ) -> tuple[Lookup, str]:
        found = await self._backend.take(key.path, target)
        if found is None:
            return _MISS, "miss"
        try:
            checked = await in_thread_if_large(len(found.data), self._check, key, task, found.data, is_item=is_item)
        except (CorruptBlob, Invalid) as error:
            return await self._reject(key, target if found.copied else "", f"it is invalid: {error}", "invalid")
        uris = checked.uris if self._options.check_files else []
        if found.copied:
            self._storage.keep(target, found.data)
            gone = await self._first_missing(uris)
        else:
            gone = await self._write_and_check(target, found.data, uris)
        if gone is not None:
            return await self._reject(key, target, f"{gone} is gone", "stale")
        return Lookup(CacheStatus.HIT, checked.origin), "hit"

    def _check(self, key: Key, task: tasks_pb2.TaskTemplate, data: bytes, *, is_item: bool) -> _Checked:
        origin = origin_of(data)
        if origin is None or origin.key != key:
            raise CorruptBlob("it is not of the key that it is stored under")
        most = self._storage.settings.max_messages
        uris = check_outputs(Literals(data), task.interface.outputs, most, is_item=is_item)
        return _Checked(origin, uris)

    async def _write_and_check(self, target: str, data: bytes, uris: list[str]) -> str | None:
        """Write the outputs while their files are looked for; returns the first that is gone."""
        if not uris:
            await self._storage.write(target, data)
            return None
        written, gone = await asyncio.gather(
            self._storage.write(target, data), self._first_missing(uris), return_exceptions=True
        )
        for outcome in (written, gone):
            if isinstance(outcome, BaseException):
                raise outcome
        assert not isinstance(gone, BaseException)
        return gone

    async def _reject(self, key: Key, target: str, why: str, outcome: str) -> tuple[Lookup, str]:
        """Remove an entry that cannot be used, and what was written of it to `target`, if anything."""
        _log.warning("the cached outputs of %s are not used, and removed: %s (%s)", key.task, why, key.path)
        if target:
            await self._storage.delete(target)
        await self._backend.delete(f"{key.path}{ENTRY}")
        return _MISS, outcome

    async def _first_missing(self, uris: list[str]) -> str | None:
        """The first of the files that is gone. Those that cannot be looked for from here count as there."""
        for first in range(0, len(uris), FILES_AT_ONCE):
            some = uris[first : first + FILES_AT_ONCE]
            there = await asyncio.gather(*map(self._is_there, some))
            missing = [uri for uri, is_there in zip(some, there, strict=True) if not is_there]
            if missing:
                return missing[0]
        return None

    async def _is_there(self, uri: str) -> bool:
        uri = uri_of(uri)
        try:
            self._storage.require_readable(uri, "a cached output")
            return await self._storage.exists(uri)
        except Invalid:
            return True

    async def _in_time(self, operation: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._options.deadline):
                return await operation
        except TimeoutError as error:
            raise StorageError(f"no answer within {self._options.deadline:g} s (catalog.deadline)") from error

    def _is_closed(self) -> bool:
        return self._closed_until > self._clock.monotonic()

    def _failed(self, error: PropellerError, what: str) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._failures = 0
            self._closed_until = self._clock.monotonic() + self._options.outage_pause
        self._causes.report(error, what)


class _Checked(msgspec.Struct, frozen=True):
    origin: Origin
    uris: list[str]
