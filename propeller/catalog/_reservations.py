"""Reservations (`cache_serialize`): of the tasks that would compute the same, one does, and the others wait for it.

Guarantees
    A reservation has one owner, the node of an execution, if the store honours conditional writes; it is renewed while
    the owner runs, and void `ttl` seconds after its last renewal. A database judges that by its clock. In an object
    store the waiter's own clock counts: how long it was not renewed, not when its owner says that was, unless that is
    long ago.
    Those who wait in this process are told when it is released, all of them if there is a result; no request is sent
    for them meanwhile. For owners elsewhere the store is asked every `poll` seconds.
    A node that ends while the store is asked for it has nothing once that has answered.
    Nothing here fails or blocks a task: without an answer of the store it runs unreserved.
Caveats
    An owner that stands still for longer than `ttl` loses its reservation, and both compute the same. A server that
    ignores conditions may give a reservation to two tasks that begin within one round trip.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from propeller.catalog._backend import Backend, Reserving
from propeller.catalog._key import RESERVATION
from propeller.catalog._options import CatalogOptions
from propeller.clock import Clock
from propeller.decoding import UNDECODABLE
from propeller.errors import PropellerError
from propeller.telemetry import CatalogMetrics, Causes
from propeller.text import NAME_CHARACTERS, bounded

_log = logging.getLogger(__name__)

RENEWALS = 3
"""Of a reservation within its time to live: two may fail."""

AT_ONCE = 16
"""Renewals under way: a thousand reservations take a second of an object store."""

JITTER = 0.5
"""Part of a poll's pause that is added at random at most."""


class Owner(msgspec.Struct, frozen=True):
    """A node of an execution, whatever its attempt."""

    uid: str
    node: str
    """Its unique id."""
    execution: str
    """Its execution's key."""

    @property
    def name(self) -> str:
        return f"{self.uid}/{self.node}"


class Reservation(msgspec.Struct, frozen=True):
    """What is stored. `renewed` is in the owner's epoch seconds."""

    owner: str
    execution: str
    node: str
    renewed: float
    ttl: float


class Busy(msgspec.Struct, frozen=True):
    """Another node has it: ask again after `after` seconds, or when told."""

    reason: str
    after: float


class _Held(msgspec.Struct):
    owner: Owner
    version: str
    due: float
    """Of the next renewal, in monotonic seconds."""


class _Asking(msgspec.Struct):
    """The store is asked for a node, which may be over meanwhile."""

    calls: int = 0
    is_over: bool = False


class _Waiting(msgspec.Struct, frozen=True):
    tell: Callable[[], bool]
    since: float
    """In monotonic seconds."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Reservation)


class Reservations:
    """See the module's text. More than 15 methods: what a node asks for, what is stored for it, and who waits here, on
    the same few tables.
    """

    def __init__(
        self, backend: Backend, options: CatalogOptions, clock: Clock, metrics: CatalogMetrics, causes: Causes
    ) -> None:
        self._backend = backend
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._causes = causes
        self._held: dict[str, _Held] = {}
        self._by_owner: dict[str, str] = {}
        self._asking: dict[str, _Asking] = {}
        """By the name of the owner."""
        self._waiting: dict[str, dict[str, _Waiting]] = {}
        """By path and owner."""
        self._seen: dict[str, tuple[str, float]] = {}
        """By path: the version of another's reservation, and when it was seen first."""
        self._todo: set[asyncio.Task[None]] = set()
        self._any_held = asyncio.Event()
        metrics.watch(
            lambda: [((), float(len(self._held)))], lambda: [((), float(sum(map(len, self._waiting.values()))))]
        )

    @property
    def count(self) -> int:
        """How many are held, or asked for."""
        return len(self._held) + len(self._asking)

    async def acquire(self, path: str, owner: Owner, tell: Callable[[], bool]) -> Busy | None:
        """Reserve a key for a node; returns None if it has it from now on, or if the store fails. While it waits,
        `tell` is called when it should ask again, and returns false if it is over.
        """
        held = self._held.get(path)
        if held is not None and held.owner.name != owner.name:
            return self._wait(path, owner, tell, held.owner.execution, self._options.reservation_ttl)
        if held is not None:
            return None
        try:
            holder = await self._ask(path, owner)
        except PropellerError as error:
            self._metrics.reservations.counts["failure",] += 1
            self._causes.report(error, "a task runs without its reservation")
            holder = None
        if holder is not None:
            return self._wait(path, owner, tell, holder, self._options.reservation_poll)
        self._seen.pop(path, None)
        self.no_longer_waits(path, owner)
        return None

    def no_longer_waits(self, path: str, owner: Owner) -> None:
        """The node has found an entry, or has the reservation."""
        if (waited := self._drop_waiting(path, owner.name)) is not None:
            self._metrics.waited(self._clock.monotonic() - waited.since)

    async def keep(self, path: str, owner: Owner) -> None:
        """Hold the reservation that the node had acquired in another process, unless another node has taken it over."""
        if path not in self._held:
            try:
                await self._ask(path, owner)
            except PropellerError as error:
                self._causes.report(error, "a reservation could not be kept")

    def release(self, owner: Owner, *, computed: bool) -> None:
        """The node has ended: give back what it has. With `computed`, there is an entry now."""
        if (asking := self._asking.get(owner.name)) is not None:
            asking.is_over = True
        path = self._by_owner.pop(owner.name, None)
        if path is None:
            return
        held = self._held.pop(path)
        task = asyncio.get_running_loop().create_task(self._release(path, held, computed=computed))
        self._todo.add(task)
        task.add_done_callback(self._todo.discard)

    def forget(self, uid: str, *, is_over: bool) -> None:
        """The execution is gone, or its shard has another process from now on; that one keeps its reservations."""
        prefix = f"{uid}/"
        for asking in [asking for name, asking in self._asking.items() if is_over and name.startswith(prefix)]:
            asking.is_over = True
        for name in [name for name in self._by_owner if name.startswith(prefix)]:
            held = self._held[self._by_owner[name]]
            if is_over:
                self.release(held.owner, computed=False)
            else:
                del self._held[self._by_owner.pop(name)]
        waiting = [(path, name) for path, of in self._waiting.items() for name in of if name.startswith(prefix)]
        for path, name in waiting:
            self._drop_waiting(path, name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew reservations until the block is left."""
        renewing = asyncio.get_running_loop().create_task(self._renew_all(), name="renew reservations")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, *self._todo, return_exceptions=True)

    # at the store

    async def _ask(self, path: str, owner: Owner) -> str | None:
        """As `_acquire`; what a node gets that is over by then is given back."""
        asking = self._asking.setdefault(owner.name, _Asking())
        asking.calls += 1
        try:
            holder = await self._acquire(path, owner)
        finally:
            asking.calls -= 1
            if not asking.calls:
                del self._asking[owner.name]
        if not asking.is_over:
            return holder
        self.release(owner, computed=False)
        return None

    async def _acquire(self, path: str, owner: Owner) -> str | None:
        """Returns None if the node has it, else the execution that has."""
        if isinstance(self._backend, Reserving):
            return await self._reserve(self._backend, path, owner)
        exclusive = await self._backend.is_exclusive()
        if not exclusive:
            self._causes.report(_NotExclusive(), "reservations may be held twice")
        name, data = f"{path}{RESERVATION}", self._record(owner)
        version = await self._backend.create(name, data) if exclusive else None
        if version is None:
            found = await self._backend.read(name)
            if found is None:
                version = await self._backend.create(name, data)
            else:
                holder = self._judge(path, owner, *found)
                if holder is not None:
                    return holder
                version = await self._backend.replace(name, data, found[1])
            if version is None:
                return "another execution"  # it was faster
        if not exclusive and (again := await self._backend.read(name)) is not None and again[0] != data:
            return "another execution"
        self._hold(path, owner, version)
        return None

    async def _reserve(self, backend: Reserving, path: str, owner: Owner) -> str | None:
        ttl = self._options.reservation_ttl
        reserved = await backend.reserve(f"{path}{RESERVATION}", self._record(owner), owner.name, ttl)
        if reserved.version is None:
            found = _decoded(reserved.data)
            return "another execution" if found is None else bounded(found.execution, NAME_CHARACTERS)
        self._hold(path, owner, reserved.version)
        return None

    def _hold(self, path: str, owner: Owner, version: str) -> None:
        self._metrics.reservations.counts["acquired",] += 1
        self._held[path] = _Held(owner, version, self._next_due())
        self._by_owner[owner.name] = path
        self._any_held.set()

    def _judge(self, path: str, owner: Owner, data: bytes, version: str) -> str | None:
        """Returns who has a reservation that counts; None if it is the node's own, void, or not readable."""
        found = _decoded(data)
        if found is None or found.owner == owner.name:
            return None
        now = self._clock.monotonic()
        seen = self._seen.get(path)
        if seen is None or seen[0] != version:
            seen = self._seen[path] = version, now
        ttl = self._options.reservation_ttl
        long_ago = abs(self._clock.now() - found.renewed) > 2 * ttl + max(0.0, min(found.ttl, ttl))
        if now - seen[1] >= ttl or long_ago:
            self._metrics.reservations.counts["taken_over",] += 1
            return None
        return bounded(found.execution, NAME_CHARACTERS)

    async def _release(self, path: str, held: _Held, *, computed: bool) -> None:
        name = f"{path}{RESERVATION}"
        try:
            found = await self._backend.read(name)
            if found is not None and _is_of(found[0], held.owner):
                await self._backend.delete(name)
            self._metrics.reservations.counts["released",] += 1
        except PropellerError as error:
            self._metrics.reservations.counts["failure",] += 1
            self._causes.report(error, "a reservation is not released, and void in %g s", self._options.reservation_ttl)
        finally:
            self._tell(path, everyone=computed)

    async def _renew_all(self) -> None:
        while True:
            if not self._held:
                self._any_held.clear()
                await self._any_held.wait()
            now = self._clock.monotonic()
            due = [path for path, held in self._held.items() if held.due <= now]
            for first in range(0, len(due), AT_ONCE):
                await asyncio.gather(*(self._renew(path) for path in due[first : first + AT_ONCE]))
            # What is acquired meanwhile is due later.
            soonest = min((held.due for held in self._held.values()), default=now)
            await asyncio.sleep(max(0.1, soonest - self._clock.monotonic()))

    async def _renew(self, path: str) -> None:
        held = self._held.get(path)
        if held is None:
            return
        held.due = self._next_due()
        try:
            await self._renew_held(path, held)
        except Exception as error:  # noqa: BLE001 - a defect: the other reservations are renewed all the same
            self._causes.report(error, "a reservation could not be renewed")

    async def _renew_held(self, path: str, held: _Held) -> None:
        try:
            version = await self._backend.replace(f"{path}{RESERVATION}", self._record(held.owner), held.version)
        except PropellerError as error:
            self._causes.report(error, "a reservation could not be renewed")
            return  # a renewal whose answer is lost makes the next one conflict; `_look_again` sees to that
        if self._held.get(path) is not held:
            return  # it was released meanwhile
        if version is None:
            await self._look_again(path, held)
        else:
            held.version = version

    async def _look_again(self, path: str, held: _Held) -> None:
        """A renewal was refused: another node has the reservation now, or an earlier renewal was not answered."""
        try:
            found = await self._backend.read(f"{path}{RESERVATION}")
        except PropellerError as error:
            self._causes.report(error, "a reservation could not be renewed")
            return
        if self._held.get(path) is not held:
            return
        if found is not None and _is_of(found[0], held.owner):
            held.version = found[1]
            return
        self._metrics.reservations.counts["lost",] += 1
        del self._held[path]
        self._by_owner.pop(held.owner.name, None)
        _log.warning("%s has lost the reservation of %s, and goes on", held.owner.execution, path)

    def _next_due(self) -> float:
        return self._clock.monotonic() + self._options.reservation_ttl / RENEWALS

    def _record(self, owner: Owner) -> bytes:
        ttl = self._options.reservation_ttl
        return _ENCODER.encode(Reservation(owner.name, owner.execution, owner.node, self._clock.now(), ttl))

    # in this process

    def _wait(self, path: str, owner: Owner, tell: Callable[[], bool], holder: str, pause: float) -> Busy:
        waiting = self._waiting.setdefault(path, {})
        before = waiting.get(owner.name)
        waiting[owner.name] = _Waiting(tell, self._clock.monotonic() if before is None else before.since)
        after = pause * (1 + random.uniform(0, JITTER))
        return Busy(f"{holder} computes the same (cache_serialize)", after)

    def _drop_waiting(self, path: str, name: str) -> _Waiting | None:
        owners = self._waiting.get(path, {})
        dropped = owners.pop(name, None)
        if dropped is not None and not owners:
            del self._waiting[path]
            self._seen.pop(path, None)
        return dropped

    def _tell(self, path: str, *, everyone: bool) -> None:
        """Those who wait ask again: all find the entry, or the first one that is not over reserves it."""
        for name, waiting in list(self._waiting.get(path, {}).items()):
            if not waiting.tell():
                self._drop_waiting(path, name)
            elif not everyone:
                return


def _decoded(data: bytes) -> Reservation | None:
    """None if the blob is no reservation."""
    try:
        return _DECODER.decode(data)
    except UNDECODABLE:
        return None


def _is_of(data: bytes, owner: Owner) -> bool:
    found = _decoded(data)
    return found is not None and found.owner == owner.name


class _NotExclusive(PropellerError):
    """Said once."""

    def __init__(self) -> None:
        super().__init__(
            "the object store ignores If-None-Match: two tasks that begin at the same moment may both compute; use a "
            "server with conditional writes"
        )
