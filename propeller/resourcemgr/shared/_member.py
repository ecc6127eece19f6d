"""The claims of one process, and what it states of them to the store: without I/O, and without a clock of its own.

Guarantees
    Claims of a tenant wait in order of priority, then of arrival. The store grants so many claims of a tenant that take
    the same; the first of these that wait get them.
    What was granted and is not wanted any more is left out of the next statement, and so goes back.
    `slice` never has more than the store counts for this process.
Errors
    Invalid from `request`, `amend` and `restore` for a claim that makes no sense or can never be met, and from
    `configure` for limits that contradict themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from propeller.errors import Invalid
from propeller.resourcemgr._claims import Claim
from propeller.resourcemgr._limits import Limits, check
from propeller.resourcemgr._rules import Needs
from propeller.resourcemgr._usage import Usage
from propeller.resourcemgr.shared._kinds import Kind, Kinds
from propeller.resourcemgr.shared._lanes import Lane, Streak
from propeller.resourcemgr.shared._messages import (
    Answer,
    Held,
    Report,
    Rules,
    Statement,
    items_of,
    read_limits,
    rules_of,
)
from propeller.resourcemgr.shared._report import report_of, usage_of
from propeller.resourcemgr.shared._store import Store


class Member:
    """See the module's text. When limits change, `granted` is called with a claim that waits and needs nothing any
    more, `refused` with one that can never be met. `is_ahead` says whether the store does not know yet what it should.

    More than 15 methods: seven of them only read it.
    """

    def __init__(
        self,
        name: str,
        ttl: int,
        limits: Limits,
        granted: Callable[[str], None],
        refused: Callable[[str, Invalid], None],
    ) -> None:
        check(limits)
        self.name = name
        self._ttl = ttl
        self._granted = granted
        self._refused = refused
        self._kinds = Kinds(limits)
        self.configured = limits
        """Its own limits, whatever is in force."""
        self._own = self._kinds.rules
        self._held: dict[str, Kind] = {}
        self._waiting: dict[str, Streak] = {}
        self._lanes: dict[str, Lane] = {}
        self._changed: set[Kind] = set()
        self._stirred: set[str] = set()
        """Tenants whose lanes have to be stated again."""
        self._number = 0
        self._is_full = True
        self._with_rules = True
        self.is_ahead = False

    # claims

    def request(self, claim: Claim, since: float) -> bool:
        """Whether the claim is held; if not it waits, from `since` on (the store's time)."""
        if claim.id in self._held:
            return True
        if claim.id in self._waiting:
            self.amend(claim)
            return False
        kind = self._kinds.of(claim)
        if not kind.items:
            self._hold(claim.id, kind)
            return True
        lane = self._lanes.get(kind.path)
        if lane is None:
            lane = self._lanes[kind.path] = Lane()
        self._waiting[claim.id] = lane.add(claim.id, kind, claim.priority, since)
        self._stir(kind.path)
        return False

    def amend(self, claim: Claim) -> None:
        """Have a claim that waits be of another kind, at its place."""
        streak = self._waiting.get(claim.id)
        if streak is None or (streak.kind.tenant, streak.kind.needs) == (claim.tenant, claim.needs):
            return
        kind = self._kinds.of(claim)
        if kind.path == streak.kind.path and kind.items:
            self._waiting |= self._lanes[kind.path].amend(claim.id, streak, kind)
            self._stir(kind.path)
            return
        since, priority = streak.claims[claim.id], streak.priority  # another tenant: it has a place of its own there
        self._withdraw(claim.id)
        self.request(Claim(claim.id, claim.tenant, claim.needs, priority), since)

    def release(self, name: str) -> None:
        """Give the claim's tokens back, or let it wait no more."""
        kind = self._held.pop(name, None)
        if kind is not None:
            kind.held -= 1
            self._changed.add(kind)
            self.is_ahead = True
        else:
            self._withdraw(name)

    def restore(self, claim: Claim) -> None:
        """Hold a claim that is known to run."""
        if claim.id not in self._held:
            kind = self._kinds.of(claim, is_held=True)
            self._withdraw(claim.id)
            self._hold(claim.id, kind)

    def _hold(self, name: str, kind: Kind) -> None:
        self._held[name] = kind
        kind.held += 1
        self._changed.add(kind)
        self.is_ahead = True

    def _withdraw(self, name: str) -> None:
        streak = self._waiting.pop(name, None)
        if streak is not None:
            path = streak.kind.path
            self._lanes[path].remove(name, streak)
            self._stir(path)

    def _stir(self, path: str) -> None:
        self._stirred.add(path)
        self.is_ahead = True

    # limits

    def configure(self, limits: Limits) -> None:
        """Be configured with other limits."""
        check(limits)
        self.configured, self._own = limits, rules_of(limits)
        self.adopt(limits)

    def adopt(self, limits: Limits, source: str = "") -> None:
        """Have these limits in force, whatever this process is configured with; `source` is how another process has
        written them. Costs O(kinds of claims, and streaks of those that wait): not O(claims).
        """
        before, self._kinds = self._kinds.in_use(), Kinds(limits, source)
        self._changed, self._stirred = set(), set()
        self.resync()
        for kind in before:
            kind.stated = kind.held if kind.held <= kind.stated else 0
            if kind.held:
                self._kinds.keep(kind)
        for lane in self._lanes.values():
            for streak in list(lane):
                self._renew(lane, streak)

    def _renew(self, lane: Lane, streak: Streak) -> None:
        """Have claims that wait need what they do by the limits in force, without pools that are gone."""
        needs = self._kinds.known(streak.kind.needs)
        try:
            kind = self._kinds.of(Claim(next(iter(streak.claims)), streak.kind.tenant, needs))
        except Invalid:
            kind = None
        if kind is not None and kind.items:
            streak.renew(kind)
            return
        for name in list(streak.claims):
            claim = Claim(name, streak.kind.tenant, needs)
            lane.remove(name, streak)
            del self._waiting[name]
            try:
                self._hold(name, self._kinds.of(claim))
            except Invalid as error:
                self._refused(name, error)
            else:
                self._granted(name)

    def leave(self) -> None:
        """Let no claim wait any more."""
        for name in list(self._waiting):
            self._withdraw(name)

    # statements

    def resync(self, *, with_rules: bool = False) -> None:
        """State everything next time, as the store may know something else, or the last answer was lost; the process's
        own limits too, if asked.
        """
        self._is_full = True
        self._with_rules = with_rules or self._with_rules
        self.is_ahead = True

    def statement(self, *, is_due: bool = False, is_asking: bool = False, is_candidate: bool = False) -> Statement:
        """What the store has to know. From now on the process has no more than that, until an answer says so."""
        self._number += 1
        own, is_full, with_rules = self._own, self._is_full, self._with_rules
        self._is_full = self._with_rules = False
        if is_full:
            self._changed = self._kinds.in_use()
            self._stirred = set(self._lanes)
        held = tuple((kind.path, kind.items, kind.held) for kind in self._changed if kind.items)
        waiting = tuple(
            (path, lane.stated(), lane.rest) if (lane := self._lanes.get(path)) is not None else (path, (), 0)
            for path in self._stirred
        )
        for kind in self._changed:
            kind.stated = kind.held
        for path in self._stirred:
            if path in self._lanes and not self._lanes[path].size:
                del self._lanes[path]
        self._changed, self._stirred = set(), set()
        self.is_ahead = False
        return Statement(
            member=self.name,
            number=self._number,
            is_full=is_full,
            ttl=self._ttl,
            generation=own.generation,
            digest=own.digest,
            using=self._kinds.rules.digest,
            is_due=is_due,
            rules=own if with_rules else None,
            held=held,
            waiting=waiting,
            is_asking=is_asking,
            is_candidate=is_candidate,
        )

    def accept(self, answer: Answer) -> list[str]:
        """Take what the store has granted: the claims that have their tokens now."""
        if answer.verdict != "ok":
            self.resync(with_rules=answer.verdict == "rules")
            return []
        names = self._grant(answer.granted, are_counted=True)
        if answer.source:
            self.adopt(read_limits(answer.source), answer.source)
        return names

    def serve(self, store: Store, rules: Rules, at: float) -> tuple[list[str], float]:
        """Grant what another store, of this process alone, has room for by those rules: the claims that have their
        tokens now, and the milliseconds until time makes room for another (-1: never).
        """
        before = store.members.get(self.name)
        statement = Statement(
            member=self.name,
            number=1 if before is None else before.number + 1,
            is_full=True,
            ttl=self._ttl,
            generation=rules.generation,
            digest=rules.digest,
            using=rules.digest,
            rules=rules,
            held=tuple((kind.path, kind.items, kind.held) for kind in self._kinds.in_use() if kind.items),
            waiting=tuple((path, lane.stated(), lane.rest) for path, lane in self._lanes.items()),
        )
        answer = store.exchange(statement, at, store.meta.server)
        return self._grant(answer.granted, are_counted=False), answer.wake_after

    def _grant(self, granted: Iterable[Held], *, are_counted: bool) -> list[str]:
        names: list[str] = []
        for path, items, count in granted:
            lane = self._lanes.get(path)
            taken = [] if lane is None else lane.take(items, count)
            names += taken
            if lane is not None:
                self._stirred.add(path)
                self.is_ahead = self.is_ahead or lane.is_long
            kind = self._kinds.of_items(path, items)
            if kind is None:
                self.resync()  # limits have changed meanwhile
                continue
            for name in taken:
                del self._waiting[name]
                self._held[name] = kind
            kind.held += len(taken)
            kind.stated += count if are_counted else 0
            if count > len(taken) or not are_counted:
                self._changed.add(kind)
                self.is_ahead = True
        return names

    @property
    def slice(self) -> dict[str, int]:
        """Tokens that the store counts for this process, by pool (encoded)."""
        found: dict[str, int] = {}
        for kind in self._kinds.in_use():
            for pool, amount in items_of(kind.items) if kind.items and kind.stated else ():
                found[pool] = found.get(pool, 0) + amount * kind.stated
        return found

    # what it knows

    @property
    def rules(self) -> Rules:
        """The limits in force."""
        return self._kinds.rules

    @property
    def lanes(self) -> int:
        """Tenants of which something waits."""
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def is_held(self, name: str) -> bool:
        return name in self._held

    def held(self, name: str) -> Needs:
        kind = self._held.get(name)
        return () if kind is None else kind.needs

    def report(self) -> Usage:
        """What this process holds and waits for."""
        return report_of(self._kinds.in_use(), self._kinds.rules)

    def usage(self, report: Report, processes: int) -> Usage:
        """What all processes hold and wait for, of which there are so many."""
        return usage_of(report, self._kinds.rules, processes)

    def place(self, name: str) -> tuple[Kind, int, float] | None:
        """Of a claim that waits: its kind, how many of its tenant go before it, and since when it waits."""
        streak = self._waiting.get(name)
        if streak is None:
            return None
        return streak.kind, self._lanes[streak.kind.path].ahead_of(name, streak), streak.claims[name]
