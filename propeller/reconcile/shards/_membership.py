"""Membership: a process joins a group that divides shards, works on those that it holds, and leaves.

Each member has a Lease of its own, which it renews; one Lease more has the shard map as an annotation. All members
watch both, and each takes its own steps (`advance`): nobody tells another what to do, and there is no leader that all
wait for. The first living member of the map decides who is to have which shard; whoever joins or leaves does so, too.

Guarantees
    A shard has one holder at a time. A member works on a shard from when the map that it wrote names it, until it has
    stopped and written that; or until its own Lease is lost. Others take its shards only once its Lease is deleted,
    with the version that they have seen unchanged for its duration: so a renewal comes before that or fails, and its
    member stopped `duration - renew_deadline` seconds earlier, by its own monotonic clock. See `Election`.
    A member whose Lease is lost never works again under its name: `joined` raises LeaseLost.
Requests
    Of each member one renewal in `retry` seconds (30 a minute), and one watch; the map is written when a shard moves.
    What a member notes for the others goes with its renewals, so that they have it `retry` seconds later.
    A Lease for each of 17 shards would be 510 renewals a minute, whoever holds them.
Caveats
    If the server is restored from an older copy, members work by the map that they know until each has noticed.
Assumptions
    As of `Election`. `ShardServer.give_up` returns once nothing will be sent any more for the shards.
Errors
    LeaseLost from the body. Failures to read or write the map are logged once per cause, and retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.informers import Informer, InformerOptions
from propeller.kube import LEASES, Client, Lease
from propeller.reconcile._lease import Election, Leadership
from propeller.reconcile._options import ElectionOptions
from propeller.reconcile.rollouts import Counts, Observed, Tally, decode_counts, encode_counts
from propeller.reconcile.shards._interlock import Interlock
from propeller.reconcile.shards._map_store import GROUP_LABEL, MapStore
from propeller.reconcile.shards._members import (
    COUNTS_ANNOTATION,
    LOAD_ANNOTATION,
    NOTE_ANNOTATION,
    Members,
    Peers,
)
from propeller.reconcile.shards._options import ShardOptions
from propeller.reconcile.shards._shard_map import ShardMap, Step, advance, loads_of
from propeller.reconcile.shards._succession import read_or_succeed
from propeller.reconcile.shards._work import ShardServer, Work
from propeller.telemetry import Causes
from propeller.text import NAME_CHARACTERS, bounded

TRIES = 8
"""Writes of the map in a row that meet another's, before the next change or tick is waited for."""

PAUSE = 0.02
"""Seconds, with jitter, after such a write: of members that start together each gets its turn. And between two steps.
"""

log = logging.getLogger(__name__)


class Membership:
    """One member of the group `namespace/name`, which divides `count` shards, the last of them `named`."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        count: int,
        server: ShardServer,
        settings: ShardOptions | None = None,
        election: ElectionOptions | None = None,
        *,
        identity: str = "",
        informers: InformerOptions | None = None,
        version: str = "",
        counts: Callable[[], Counts] = Counts,
        interlock: Interlock | None = None,
        note: Callable[[], str] | None = None,
        met: Callable[[Peers], None] | None = None,
        named: tuple[str, ...] = (),
        confine: Callable[[frozenset[str] | None], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        """`identity` tells people which process it is. `version` is that of its code and settings, which rollouts tell
        apart, and judge by its `counts`. Until `interlock` says that nobody else acts, the member begins nothing.
        `note` returns what the member tells the others ("": nothing), some KB at most; `met` is called with what they
        tell, at each step; `confine`, before it begins any shard, with the names of those that its version is tried
        in, None if it is not confined to them (see `ShardMap.confined`).
        """
        rng = rng or random.Random(random.getrandbits(64))
        self._client = client
        self._namespace = namespace
        self._group = name
        self._server = server
        self._settings = settings or ShardOptions()
        self._clock = clock
        self._rng = rng
        self._election_options = election or ElectionOptions()
        self._retry = self._election_options.retry
        self.name = f"{name}-{uuid.UUID(int=rng.getrandbits(128)).hex[:10]}"
        """Of this member, and of its Lease: no other one, before or after, has it."""
        self.election = Election(
            client,
            namespace,
            self.name,
            identity or self.name,
            election,
            labels={GROUP_LABEL: name},
            annotations=self._annotations,
            clock=clock,
            rng=rng,
        )
        self._leases = Informer(
            client, LEASES, namespace=namespace, label_selector=f"{GROUP_LABEL}={name}", settings=informers
        )
        self._version = version
        self._counts = counts
        self._interlock = interlock
        self._note = note
        self._met = met
        self._confine = confine
        self._tally = Tally()
        self._members = Members(self._election_options.duration)
        self._store = MapStore(client, namespace, name, count, named)
        self._changed = asyncio.Event()
        self._work = Work(server, self._changed.set)
        self._gone: set[str] = set()
        self._left = False
        self._is_restored = False
        self._next_level = clock.monotonic() + self._settings.level_interval
        self._causes = Causes(log)
        self.trouble = ""
        """Why the map could not be read or written when it was last tried; "" if it could."""
        self.obstacle = ""
        """Who has to end before this member begins; "" once nobody has."""

    @property
    def map(self) -> ShardMap:
        """The newest map that this member knows."""
        return self._store.map

    @property
    def ready(self) -> frozenset[int]:
        """Shards that this member works on, their caches filled."""
        return self._work.ready

    def readiness(self) -> str | None:
        """Why this member does not do its part; None if it does, or has nothing to do."""
        if why := self.trouble or self.election.trouble:
            return why
        if self.obstacle:
            return None  # a standby is ready, or the one that it waits for would not be ended
        if waiting := self.map.held_by(self.name) - self.ready:
            return f"the caches of shards {_listed(waiting)} are not filled yet"
        return None

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[Leadership]:
        """Be a member while the body runs. If its Lease is lost the body is cancelled, and LeaseLost raised.

        If members that have ended divided shards otherwise, it waits until that is certain. Raises Invalid if one of
        them lives, and what reading the map raises.
        """
        try:
            async with self.election.lead() as leadership, self._leases:
                await read_or_succeed(
                    self._store, self._client, self._namespace, self._group, self._election_options, self._clock
                )
                with contextlib.suppress(PropellerError):  # without loads shards are divided by their number
                    await self._leases.wait_for_sync(self._retry)
                stop = self._leases.subscribe(lambda _: self._changed.set())
                self._leases.subscribe_restores(self._restored)
                steps = asyncio.create_task(self._run(leadership), name=f"shards of {self.name}")
                try:
                    yield leadership
                finally:
                    stop()
                    steps.cancel()
                    await asyncio.wait([steps])
                    await self._leave(leadership)
        finally:
            if self._left:
                with contextlib.suppress(PropellerError):  # else others delete it when it has been silent
                    await self._client.delete(LEASES, self.name, self._namespace)

    async def bury(self, member: str) -> None:
        """Take over from a member whose process is known to have ended, without waiting until its Lease is silent."""
        if member != self.name:
            with contextlib.suppress(NotFound):
                await self._client.delete(LEASES, member, self._namespace)
            self._gone.add(member)
            self._changed.set()

    async def _run(self, leadership: Leadership) -> None:
        while True:
            leadership.check()
            self._changed.clear()
            try:
                await self._step(leadership)
            except PropellerError as error:
                self.trouble = f"the shard map cannot be read or written: {error}"
                self._causes.report(error, "%s cannot read or write the shard map, trying again", self.name)
            except Exception as error:  # noqa: BLE001 - a defect: a member that lives must not cease to take steps
                self.trouble = f"a step in the group has failed: {bounded(repr(error), NAME_CHARACTERS)}"
                self._causes.report(error, "%s has failed to take a step, trying again", self.name)
            else:
                self.trouble = ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry):
                    await self._changed.wait()
            await asyncio.sleep(PAUSE)  # renewals of many members are one look, and no disagreement keeps the loop busy

    async def _step(self, leadership: Leadership) -> None:
        """Take this member's next step, and follow the map."""
        if self._is_restored:
            await self._store.read()
            self._is_restored = False
        self._store.saw(self._leases.store.get(f"{self._namespace}/{self._group}"))
        now, leases = self._clock.monotonic(), self._member_leases()
        self._members.observe(leases, self.map.names, now)
        silent = [name for name in self._members.silent(now) if name != self.name]
        alive = [name for name in self.map.members if name not in silent]
        plans = self.map.planner(alive) in {"", self.name}
        if self._met is not None:
            others = {name: leases[name] for name in alive if name in leases and name != self.name}
            self._met(Peers(plans, _notes_in(others.values()), _loads_in(others)))
        if plans:
            for name in silent:
                if name not in self._gone and await self._is_gone(name, leases.get(name)):
                    log.warning(
                        "%s: member %s has been silent for too long: its shards are taken over", self.name, name
                    )
                    self._gone.add(name)
        levels = plans and now >= self._next_level
        if levels:
            self._next_level = now + self._settings.level_interval
        self._gone &= {*self.map.names, *leases}
        for _ in range(TRIES):
            step = Step(
                member=self.name,
                stopped=frozenset(self._work.stopped),
                gone=frozenset(self._gone),
                plans=plans,
                levels=levels,
                loads=_loads_in(leases) | dict(self._server.loads()),
                active=self._settings.active,
                version=self._version,
                observed=self._observed(leases) if plans else None,
                now=self._clock.now(),
            )
            if await self._write(leadership, step):
                break
        if self._interlock is not None and self.name in self.map.members:
            before, self.obstacle = self.obstacle, await self._interlock.obstacle()
            if self.obstacle:
                if not before:
                    log.warning("%s waits: %s", self.name, self.obstacle)
                return
            self._interlock = None
        if self._confine is not None:
            self._confine(self.map.confined(self._version))
        self._work.follow(self.map.held_by(self.name), self.map.wanted_of(self.name))

    async def _write(self, leadership: Leadership, step: Step) -> bool:
        """Write the map after `step`; False if another was written meanwhile."""
        after = advance(self.map, step)
        if after == self.map:
            return True
        leadership.check()
        before = self.map
        if not await self._store.write(after):
            await asyncio.sleep(PAUSE * self._rng.uniform(0.5, 2.0))
            return False
        _log_change(self.name, before, after)
        return True

    async def _leave(self, leadership: Leadership) -> None:
        """Give everything up in order; at once if the Lease is lost."""
        if not leadership.remaining():
            await self._work.abandon()
            return
        await self._work.end_all()
        step = Step(
            member=self.name, leaves=True, stopped=frozenset(self._work.stopped), loads=dict(self._server.loads())
        )
        while leadership.remaining():
            try:
                if await self._write(leadership, step):
                    self._left = True
                    return
            except PropellerError as error:
                self._causes.report(error, "%s cannot write that it leaves, trying again", self.name)
                await asyncio.sleep(self._retry / 10)
                with contextlib.suppress(PropellerError):
                    await self._store.read()  # it may have been written

    async def _is_gone(self, name: str, lease: Lease | None) -> bool:
        """Delete the Lease of a silent member, in the version that was silent; whether it is gone."""
        try:
            if lease is None:
                await self._client.get(LEASES, name, self._namespace)
            else:
                version = lease.metadata.resource_version
                await self._client.delete(LEASES, name, self._namespace, resource_version=version)
                return True
        except NotFound:
            return True
        except Conflict:
            pass
        self._members.renewed(name, self._clock.monotonic())  # the cache is late
        return False

    def _restored(self) -> None:
        """The server was restored from an older copy: its map holds, although it is older."""
        self._is_restored = True
        self._changed.set()

    def _member_leases(self) -> dict[str, Lease]:
        return {lease.metadata.name: lease for lease in self._leases.store if lease.metadata.name != self._group}

    def _observed(self, leases: Mapping[str, Lease]) -> Observed | None:
        """What members have done in the stage of the rollout, None if none is under way."""
        rollout = self.map.rollout
        if rollout is None or rollout.state.is_over:
            return None
        texts = {name: (lease.metadata.annotations or {}).get(COUNTS_ANNOTATION, "") for name, lease in leases.items()}
        counts = {name: found for name, text in texts.items() if (found := decode_counts(text)) is not None}
        holds = rollout.shards <= self.map.held_by_version(rollout.candidate)
        return self._tally.observe(rollout, self.map.versions, counts, self._clock.monotonic(), holds=holds)

    def _annotations(self) -> dict[str, str]:
        loads = {shard: load for shard, load in self._server.loads().items() if load}
        found = {LOAD_ANNOTATION: msgspec.json.encode(loads).decode()}
        if self.map.rollout is not None and not self.map.rollout.state.is_over:
            found[COUNTS_ANNOTATION] = encode_counts(self._counts())
        if self._note is not None and (note := self._note()):
            found[NOTE_ANNOTATION] = note
        return found


def _loads_in(leases: Mapping[str, Lease]) -> dict[int, float]:
    """The loads of shards as their holders' Leases tell them."""
    return loads_of([(lease.metadata.annotations or {}).get(LOAD_ANNOTATION, "") for lease in leases.values()])


def _notes_in(leases: Iterable[Lease]) -> tuple[str, ...]:
    texts = ((lease.metadata.annotations or {}).get(NOTE_ANNOTATION, "") for lease in leases)
    return tuple(text for text in texts if text)


def _log_change(name: str, before: ShardMap, after: ShardMap) -> None:
    """Say what this member's step changed for it."""
    had, has = before.held_by(name), after.held_by(name)
    if has - had:
        log.info("%s takes shards %s", name, _listed(has - had))
    if had - has:
        log.info("%s has given up shards %s", name, _listed(had - has))


def _listed(shards: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(shards)))
