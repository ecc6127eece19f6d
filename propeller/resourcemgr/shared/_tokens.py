"""Tokens that several processes share, as one of them sees them: claims in, exchanges with the store, grants out.

Guarantees
    Those of `Tokens`. `request` has its answer with the next exchange: one round trip for all that was asked, released
    and used since the last one. Only one exchange is under way at a time, so the longer they take the more each
    carries. Without the store (it does not answer for `lost_after` seconds) this process shares what the store counts
    for it, its slice, among its own claims, or grants nothing, by `lost`. Until the store answers again it is only
    probed: a statement would lower the slice, and it may arrive without its answer.
    Nothing is polled: an exchange is made for news, when the store has a message, when a token of a rate comes that
    something waits for, and three times in a TTL.
Assumptions
    As `Tokens`.
Errors
    Invalid as `Tokens`. `running` raises Invalid or Untrusted if the store refuses this process when it begins;
    whatever happens later is logged, and passes or is mended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import Denied, Invalid, PropellerError, Untrusted
from propeller.pauses import Pauses
from propeller.resourcemgr._backend import Granted, Refused, TakenBack
from propeller.resourcemgr._callers import Callers
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._limits import Limits
from propeller.resourcemgr._rules import Needs
from propeller.resourcemgr._usage import Usage
from propeller.resourcemgr.shared._depending_on import depending_on
from propeller.resourcemgr.shared._exchange import Exchange
from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._messages import Answer, Rules, items_of, pool_title, read_limits, source_of
from propeller.resourcemgr.shared._options import RedisOptions
from propeller.resourcemgr.shared._slice import OWN, StoreWait, differences, of_slice
from propeller.resourcemgr.shared._store import Store

_log = logging.getLogger(__name__)

_MAX_REST = 0.003
"""Seconds between two exchanges at most, if there is news. It saves Redis two fifths of its CPU when many wait; longer
pauses save no more.
"""

_REPORT_SECONDS = 1.0
"""At least between two reports that are asked for: each costs Redis some microseconds for each tenant."""

_RENEWALS = 3
"""In a TTL."""


class SharedTokens:
    """See the module's text, and `Tokens` for what its methods do.

    More than 15 methods: 12 of them are the interface.
    """

    def __init__(
        self,
        limits: Limits,
        store: Exchange,
        options: RedisOptions,
        name: str,
        *,
        clock: Clock = SYSTEM_CLOCK,
        unused_after: float = 60.0,
        taken_back: TakenBack | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._callers = Callers(unused_after, self.release, taken_back)
        self._member = Member(name, round(options.ttl * 1000), limits, self._callers.granted, self._callers.refused)
        self._needed = asyncio.Event()
        self._due = -math.inf
        """When an exchange has to be made even without news."""
        self._alarm: asyncio.TimerHandle | None = None
        self._heard: Answer | None = None
        """The last answer."""
        self._heard_at = 0.0
        self._blocked: dict[str, str] = {}
        self._usage: dict[str, float] = {}
        """What the last answers said of the pools that something waits for."""
        self._kept: dict[str, float] = {}
        """Of these pools, as of the last answer."""
        self._lost: PropellerError | None = None
        self._own: tuple[Store, Rules] | None = None
        """While the store is lost: another one, of the slice."""
        self._was_shared = False
        """Whether the slice was used since the store was lost."""
        self._overruled_by = ""
        self._reported: tuple[Usage, float] | None = None
        """What the store has said of all processes, and when."""
        self._wants_report = True
        self._is_candidate = False
        """Whether it is asked if it `speaks`."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._store.waking(self._wake):
            await self._exchange()
            if isinstance(self._lost, Denied):
                raise Invalid(str(self._lost)) from self._lost
            if isinstance(self._lost, Untrusted | Invalid):
                raise self._lost
            async with depending_on(self._serve(), "exchanges with the store of tokens"):
                try:
                    yield
                finally:
                    self.close()
            await self._leave()

    async def _leave(self) -> None:
        """Have the store grant nothing more to this process. What it holds comes back after a TTL, as its pods run
        on.
        """
        if self._lost is None:
            with suppress(PropellerError):
                self._member.leave()
                await self._store.exchange(self._member.statement())

    def close(self) -> None:
        self._callers.close()
        if self._alarm is not None:
            self._alarm.cancel()

    # a claim's life

    def request(self, claim: Claim, granted: Granted, refused: Refused) -> bool | Awaitable[bool]:
        if self._member.request(claim, self._store_time()):
            return True
        if claim.id in self._callers:
            return False
        self._callers.add(claim.id, granted, refused)
        self._news()
        return self._callers.ask(claim.id) if self._lost is None else False

    def amend(self, claim: Claim) -> None:
        self._member.amend(claim)
        self._news()

    def use(self, name: str) -> None:
        self._callers.use(name)

    def doubt(self, name: str) -> None:
        if not self._callers.is_unused(name) and self._member.is_held(name):
            self._callers.take_back_later(name)

    def release(self, name: str) -> None:
        self.use(name)
        self._callers.drop(name, False)
        self._member.release(name)
        self._news()

    def restore(self, claim: Claim) -> None:
        self._member.restore(claim)
        self._callers.drop(claim.id, True)
        self._news()

    def configure(self, limits: Limits) -> None:
        self._member.configure(limits)
        self._news()

    # what it knows

    def is_held(self, name: str) -> bool:
        return self._member.is_held(name)

    def held(self, name: str) -> Needs:
        return self._member.held(name)

    @property
    def waiting(self) -> int:
        return self._member.waiting

    def report(self, *, own: bool = False) -> Usage:
        if own or self._lost is not None or self._reported is None:
            return self._member.report()
        if self._clock.monotonic() - self._reported[1] >= _REPORT_SECONDS:
            self._wants_report = True
            self._needed.set()
        return self._reported[0]

    def speaks(self) -> bool:
        if not self._is_candidate:
            self._is_candidate = True
            self._needed.set()
        is_fresh = self._clock.monotonic() - self._heard_at < self._options.ttl
        return self._lost is None and self._heard is not None and self._heard.speaks and is_fresh

    def explain(self, name: str) -> Wait | None:
        place = self._member.place(name)
        if place is None:
            return None
        kind, ahead, since = place
        amounts = dict(items_of(kind.items))
        why = self._trouble()
        pool = self._blocked.get(kind.path, "")
        if pool not in amounts:
            pool = next((one for one in amounts if one in self._usage), "")
        if not pool and not why:
            return None
        pool = pool or next(iter(amounts))
        capacity, rate, _, _ = self._member.rules.pools.get(pool, (-1.0, -1.0, 0.0, False))
        wait = Wait(
            pool=pool_title(pool),
            amount=amounts[pool],
            held=round(self._usage.get(pool, 0)),
            capacity=None if capacity < 0 else round(capacity),
            rate=None if rate < 0 else rate,
            tenant=kind.tenant,
            ahead=ahead,
            waiting=self._member.waiting,
            since=self._clock.monotonic() - (self._store_time() - since) / 1000,
            kept=round(self._kept.get(pool, 0)),
        )
        return StoreWait(**msgspec.structs.asdict(wait), why=why) if why else wait

    def _trouble(self) -> str:
        """What keeps the store from granting anything."""
        if self._lost is not None:
            return "" if self._own is not None else f"{self._store.place} is not reached"
        if self._heard is not None and self._heard.recovering > 0:
            return f"{self._store.place} gathers what is held, after a restart"
        return ""

    # exchanges

    async def _serve(self) -> None:
        pauses, rest = Pauses(0.1, self._options.ttl / 3), -math.inf
        while True:
            if self._lost is not None:
                await asyncio.sleep(pauses.failed(self._clock.monotonic()))
                await self._regain()
                continue
            await self._needed.wait()
            # what others ask for in this turn of the loop goes along; and a store that is busy sharing out what many
            # wait for is given news in bigger pieces, as a piece costs it more than what is in it
            await asyncio.sleep(max(0.0, rest - self._clock.monotonic()))
            began = self._clock.monotonic()
            await (self._regain() if self._store.is_doubtful else self._exchange())
            now = self._clock.monotonic()
            rest = now + min(now - began, _MAX_REST) if self._member.waiting else -math.inf

    async def _exchange(self) -> None:
        self._needed.clear()
        asked = self._callers.asked
        began = self._clock.monotonic()
        statement = self._member.statement(
            is_due=(is_due := began >= self._due - 0.001),
            is_asking=self._wants_report or is_due,
            is_candidate=self._is_candidate,
        )
        self._own = None  # the slice is what was stated, from now on
        try:
            answer = await self._store.exchange(statement)
        except PropellerError as error:
            self._member.resync()
            self._lose(error)
            return
        self._hear(answer, asked)

    def _hear(self, answer: Answer, asked: list[str]) -> None:
        if self._lost is not None:
            _log.info("%s is reached again", self._store.place)
            self._lost, self._was_shared = None, False
        now = self._clock.monotonic()
        names = self._member.accept(answer)
        if answer.verdict == "ok":
            self._heard, self._heard_at = answer, now
            self._blocked |= answer.blocked
            self._usage |= answer.usage
            self._kept = answer.kept
            if len(self._blocked) > 2 * self._member.lanes + 1000:
                self._blocked, self._usage = answer.blocked, answer.usage
            if answer.report is not None:
                self._reported, self._wants_report = (self._member.usage(answer.report, answer.members), now), False
            self._note_limits(answer)
            for name in names:
                self._callers.granted(name)
            for name in asked:
                self._callers.settle(name, False)
        after = self._options.ttl / _RENEWALS
        for milliseconds in (answer.wake_after, answer.recovering or -1.0):
            if milliseconds >= 0:
                after = min(after, max(0.001, milliseconds / 1000))
        self._set_alarm(now, after)
        if self._member.is_ahead:
            self._needed.set()

    def _set_alarm(self, now: float, after: float) -> None:
        self._due = now + after
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if self._callers.is_closed else asyncio.get_running_loop().call_later(after, self._wake)

    def _wake(self) -> None:
        self._needed.set()

    def _news(self) -> None:
        """Something has changed in this process."""
        if self._own is not None:
            self._serve_slice()
        elif self._member.is_ahead:
            self._needed.set()

    def _store_time(self) -> float:
        """What the store's clock says by now, in milliseconds."""
        if self._heard is None:
            return 0.0
        return self._heard.now + (self._clock.monotonic() - self._heard_at) * 1000

    def _note_limits(self, answer: Answer) -> None:
        """Say so if others' limits are in force, unless this process or the others follow within a TTL."""
        if answer.source and answer.source != self._overruled_by:
            self._overruled_by = answer.source
            if answer.generation > self._member.configured.generation:
                _log.info("limits of generation %d, of %s, are in force", answer.generation, answer.owner)
            else:
                asyncio.get_running_loop().call_later(self._options.ttl, self._name_conflict, answer)

    def _name_conflict(self, answer: Answer) -> None:
        own, other = self._member.configured, read_limits(answer.source)
        if self._callers.is_closed or self._member.rules.source != answer.source or source_of(own) == answer.source:
            return
        _log.error(
            "limits of generation %d differ from those of %s (generation %d), which are in force: %s. Give the right "
            "ones a higher resources.generation",
            own.generation,
            answer.owner,
            other.generation,
            differences(own, other),
        )

    # without the store

    def _lose(self, error: PropellerError) -> None:
        if self._lost is None or type(error) is not type(self._lost):
            _log.warning("the store of tokens is lost: %s", error)
        is_new, self._lost = self._lost is None, error
        for name in self._callers.asked:
            self._callers.settle(name, False)
        if is_new and self._heard is not None and self._options.lost == "slice" and not self._callers.is_closed:
            left = self._heard_at + self._options.lost_after - self._clock.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, left), self._use_slice)
        elif self._was_shared:
            self._use_slice()

    async def _regain(self) -> None:
        try:
            await self._store.probe()
        except PropellerError as error:
            self._lose(error)
            return
        await self._exchange()

    def _use_slice(self) -> None:
        """Share the slice among this process's claims."""
        if self._lost is None or self._own is not None or self._heard is None or self._callers.is_closed:
            return
        if not self._was_shared:
            _log.warning("no more is launched at once than when %s was last heard of", self._store.place)
        self._was_shared = True
        store = Store()
        store.meta.server, store.meta.at = OWN, self._clock.monotonic() * 1000
        self._own = store, of_slice(self._member.rules, self._member.slice, self._heard.members)
        self._serve_slice()

    def _serve_slice(self) -> None:
        if self._own is None or self._callers.is_closed:
            return
        names, wake_after = self._member.serve(*self._own, self._clock.monotonic() * 1000)
        for name in names:
            self._callers.granted(name)
        if wake_after >= 0:
            asyncio.get_running_loop().call_later(max(0.001, wake_after / 1000), self._serve_slice)
