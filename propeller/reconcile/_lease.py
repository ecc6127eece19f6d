"""Leader election on a Lease: of several processes one acts, and another takes over when it falls silent.

Guarantees
    Never two holders act, if each calls `Leadership.check` before it acts: a holder stops `renew_deadline` seconds
    after it *sent* its last acknowledged renewal; another candidate acquires no earlier than `duration` seconds after
    it *saw* that renewal, which is later. The difference, `duration - renew_deadline`, covers requests under
    way (bound them with `Leadership.remaining`) and clocks that run at unlike speeds.
    No wall clock is compared: a record counts as renewed when its resourceVersion has changed, seen by the watcher's
    own monotonic clock (as in client-go, tools/leaderelection). Clocks may be wrong by years.
    Writes carry the resourceVersion that was read, so of two that acquire at once one gets a Conflict.
    The lease is renewed until the body has ended, also while it winds down after a cancel, and is then released.
Assumptions
    Identities are unique. Monotonic clocks differ in rate by less than `duration / renew_deadline`.
Caveats
    A process that is halted between `check` and the effect can act late; if that matters, let the effect carry
    `token`, which grows with each change of holder, and have its receiver refuse lower ones.
    If the Lease object is deleted by hand, the protection against new candidates is lifted until the holder's next
    renewal, which finds it gone and gives up.
Errors
    LeaseLost ends the body when the lease could not be renewed in time or another process holds it. While waiting
    for the lease failures, a missing namespace among them, are logged once per cause, kept in `trouble`, and retried.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock, rfc3339
from propeller.errors import AlreadyExists, Conflict, Invalid, NotFound, Retryable, Unavailable
from propeller.kube import LEASES, Lease, LeaseSpec, ObjectMeta, Resource
from propeller.reconcile._options import ElectionOptions
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)


class LeaseLost(Retryable):
    """This process may no longer act: the lease was not renewed in time, or another process holds it."""


class LeaseClient(Protocol):
    """The part of the Kubernetes client that an election needs."""

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """Raises NotFound."""

    async def create(self, resource: Resource[T], body: msgspec.Struct, namespace: str | None = None) -> T:
        """Raises AlreadyExists."""

    async def replace(self, resource: Resource[T], body: msgspec.Struct, name: str, namespace: str | None = None) -> T:
        """Raises Conflict if the object's resourceVersion is not the current one, NotFound if it is gone."""


class Leadership:
    """The right to act, while it lasts."""

    def __init__(self, lease: str, clock: Clock) -> None:
        self._lease = lease
        self._clock = clock
        self.token = 0
        """Fencing token: the Lease's leaseTransitions, larger for each later holder."""
        self.valid_until = -math.inf
        """Time of the monotonic clock, seconds, until which this process may act. Each renewal puts it off."""

    def remaining(self) -> float:
        """Seconds for which this process may act without a further renewal: 0 when the lease is lost."""
        return max(0.0, self.valid_until - self._clock.monotonic())

    def check(self) -> None:
        """Raises LeaseLost unless this process may act now."""
        if not self.remaining():
            raise LeaseLost(f"lease {self._lease} is no longer held")


class Election:
    """One candidate for the Lease `namespace/name`, under an `identity` that no other candidate has."""

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        name: str,
        identity: str,
        settings: ElectionOptions | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Callable[[], Mapping[str, str]] = dict,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        """The Lease gets `labels` when it is created, and `annotations` with each renewal."""
        self._settings = settings or ElectionOptions()
        if not 0 < self._settings.retry < self._settings.renew_deadline < self._settings.duration:
            raise Invalid(f"an election needs 0 < retry < renew_deadline < duration, not {self._settings}")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._labels = dict(labels) if labels else None
        self._annotations = annotations
        self._clock = clock
        self._rng = rng or random.Random(random.getrandbits(64))  # a seed of the module is a seed of ours
        self._causes = Causes(log)
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self.trouble = ""
        """Why the last attempt to read or write the lease failed; "" if it did not. That another process holds the
        lease is no failure: a candidate without trouble is a standby that is ready to take over."""

    @property
    def lease(self) -> str:
        """`namespace/name`."""
        return f"{self._namespace}/{self._name}"

    @property
    def holder(self) -> str:
        """The identity of the holder when the lease was last read; empty if there was none."""
        return (self._seen.spec.holder_identity or "") if self._seen else ""

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[Leadership]:
        """Wait for the lease, and hold it while the body runs.

        On its loss the body is cancelled, and LeaseLost raised. On leaving, the lease is released.
        """
        leadership = Leadership(self.lease, self._clock)
        before = ""
        while not await self._attempt(leadership):
            if self.holder != before and self.holder != self._identity:
                before = self.holder
                log.info("%s waits for lease %s, which %s holds", self._identity, self.lease, before or "nobody")
            await self._pause()
        log.info("%s holds lease %s", self._identity, self.lease)
        fuse = asyncio.timeout(leadership.remaining())
        try:
            async with fuse:
                keeping = asyncio.create_task(self._keep(leadership, fuse), name=f"renew lease {self.lease}")
                try:
                    yield leadership
                finally:
                    keeping.cancel()
                    await asyncio.wait((keeping,))
        except TimeoutError as error:
            if fuse.expired():
                raise LeaseLost(f"{self._identity} lost lease {self.lease}") from error
            raise
        finally:
            await self._release(leadership)

    async def _keep(self, leadership: Leadership, fuse: asyncio.Timeout) -> None:
        """Renew until cancelled. Each renewal puts off the fuse, which ends the body when it burns down.

        A lease that has lapsed is not acquired again, although it may be free: others may have acted meanwhile.
        """
        while not fuse.expired():
            await self._pause()
            if not leadership.remaining():
                return
            held = await self._attempt(leadership)
            if not held and self.holder != self._identity:
                leadership.valid_until = -math.inf
            if not fuse.expired():
                fuse.reschedule(asyncio.get_running_loop().time() + leadership.remaining())

    async def _attempt(self, leadership: Leadership) -> bool:
        """Acquire or renew once: True if a write of this attempt was acknowledged."""
        try:
            async with asyncio.timeout(leadership.remaining() or self._settings.renew_deadline):
                try:
                    await self._acquire_or_renew(leadership)
                except (AlreadyExists, Conflict, NotFound):
                    await self._read()  # another process wrote in between: the next attempt judges that record
                    self.trouble = ""
                    return False
        except Exception as caught:  # noqa: BLE001 - only the next attempt can mend a failure
            error = _ours(caught)
            self._causes.report(error, "%s cannot write lease %s", self._identity, self.lease)
            self.trouble = f"lease {self.lease} cannot be read or written: {str(error) or type(error).__name__}"
            return False
        self.trouble = ""
        return leadership.remaining() > 0

    async def _acquire_or_renew(self, leadership: Leadership) -> None:
        """Write ourselves into the record, if it is ours, free, or was silent for its duration."""
        if not leadership.remaining():
            exists = await self._read()
            if not self._is_free():
                return
            if not exists:
                await self._write(leadership, None)
                return
        await self._write(leadership, self._seen)

    def _is_free(self) -> bool:
        """Whether no other process may be acting, by the records seen so far."""
        if self._seen is None or self.holder in ("", self._identity):
            return True
        duration = self._seen.spec.lease_duration_seconds or self._settings.duration
        return self._clock.monotonic() >= self._seen_at + duration

    async def _read(self) -> bool:
        """Read the record; whether there is one. That of another holder counts for its duration even if deleted."""
        try:
            self._observe(await self._client.get(LEASES, self._name, self._namespace))
        except NotFound:
            if self._seen is not None and self.holder == self._identity:
                self._seen = _freed(self._seen)
            return False
        return True

    def _observe(self, lease: Lease) -> None:
        if self._seen is None or lease.metadata.resource_version != self._seen.metadata.resource_version:
            self._seen, self._seen_at = lease, self._clock.monotonic()

    async def _write(self, leadership: Leadership, current: Lease | None) -> None:
        """Acquire or renew; `current` is the record to replace, None if there is none."""
        previous = self._seen.spec if self._seen else LeaseSpec()
        transitions = previous.lease_transitions or 0
        now = rfc3339(self._clock.now(), microseconds=True)
        if (
            now == previous.renew_time
        ):  # a clock that stands: without a change the server would keep the resourceVersion
            now = rfc3339(self._clock.now() + 0.001, microseconds=True)
        renewing = self.holder == self._identity
        spec = LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=self._settings.duration,
            acquire_time=previous.acquire_time if renewing else now,
            renew_time=now,
            lease_transitions=transitions if renewing or self._seen is None else transitions + 1,
        )
        sent = self._clock.monotonic()
        if current is None:
            lease = await self._create(spec)
        else:
            lease = await self._replace(current, spec)
        self._observe(lease)
        leadership.token = lease.spec.lease_transitions or 0
        leadership.valid_until = sent + self._settings.renew_deadline

    async def _create(self, spec: LeaseSpec) -> Lease:
        metadata = ObjectMeta(
            name=self._name,
            namespace=self._namespace,
            labels=self._labels,
            annotations=dict(self._annotations()) or None,
        )
        try:
            return await self._client.create(LEASES, Lease(metadata=metadata, spec=spec), self._namespace)
        except NotFound as error:  # of an object that is yet to be: its namespace is missing
            raise Retryable(
                f"{error}. Create namespace {self._namespace}, or name another one for the lease"
            ) from error

    async def _replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        changed = msgspec.structs.replace(current, spec=spec)
        if annotations := self._annotations():
            merged = {**(current.metadata.annotations or {}), **annotations}
            metadata = msgspec.structs.replace(current.metadata, annotations=merged)
            changed = msgspec.structs.replace(changed, metadata=metadata)
        return await self._client.replace(LEASES, changed, self._name, self._namespace)

    async def _release(self, leadership: Leadership) -> None:
        """Give the lease up, so that other candidates need not wait; if that fails they wait for its duration."""
        if not leadership.remaining() or self._seen is None:
            return
        leadership.valid_until = -math.inf  # before the write: after it another process may act
        try:
            async with asyncio.timeout(self._settings.retry):
                try:
                    await self._replace(self._seen, _freed(self._seen).spec)
                except Conflict:  # a renewal that was cancelled on its way has had its effect
                    if await self._read() and self.holder == self._identity:
                        await self._replace(self._seen, _freed(self._seen).spec)
        except Exception as caught:  # noqa: BLE001 - the body's own outcome must not be hidden by a failed courtesy
            self._causes.report(_ours(caught), "%s cannot release lease %s", self._identity, self.lease)
        else:
            log.info("%s released lease %s", self._identity, self.lease)

    async def _pause(self) -> None:
        await asyncio.sleep(self._settings.retry * self._rng.uniform(1.0, 1.2))


def _ours(error: Exception) -> Exception:
    return Unavailable("the API server did not answer in time") if isinstance(error, TimeoutError) else error


def _freed(lease: Lease) -> Lease:
    """The record without a holder; its count of transitions goes on."""
    return msgspec.structs.replace(lease, spec=msgspec.structs.replace(lease.spec, holder_identity=None))
