"""Who holds which tokens, and who is next: all of it, without I/O and without a clock of its own.

Guarantees
    A claim takes tokens of all its pools, or none. No pool has more out than its capacity, but for what `restore` has
    found held, or a lowered limit has left: such a pool grants nothing until it is below its limit.
    Acquiring a claim again that is held or waits changes nothing; neither does releasing one twice.
    Work-conserving: a claim waits only while one of its pools has too few tokens for it, another claim has a better
    right to them, or they are saved up for a bigger claim: those that could overtake it have had more than their part,
    or did so `max_bypass` times.
    Fair between tenants at every level (`_turns`), and none starves (`_waitlist`).
    While nothing waits, `acquire` and `release` cost O(pools and tenants of the claim), else O(log n) more.
Assumptions
    `now` is monotonic, in seconds. If it goes back all the same, no tokens come by that.
Errors
    Invalid from `acquire` and `restore` for a claim that makes no sense, names an unknown pool, or (`acquire`) needs
    more than a pool ever has; from `configure` for limits that contradict themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from propeller.errors import Invalid
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._limits import Limits, Path, check
from propeller.resourcemgr._pools import PoolState
from propeller.resourcemgr._registry import Registry, never
from propeller.resourcemgr._usage import Usage, usage_of
from propeller.resourcemgr._waiter import Need, Waiter
from propeller.resourcemgr._waitlist import Waitlist

_SLICE = 250
"""Claims that get new places at once after a change of the limits' structure: 1 to 3 ms."""

_PLACES = 48
"""Bits of a claim's place that number arrivals; those above are its priority."""


class Ledger:
    """See the module's text. `granted` is called with the id of each claim that has waited and got its tokens;
    `refused` with that of one which can never get them, as limits have become lower. Neither may call the ledger.

    More than 15 methods: seven of them only read it, for explanations and metrics.
    """

    def __init__(
        self, limits: Limits, now: float, granted: Callable[[str], None], refused: Callable[[str, Invalid], None]
    ) -> None:
        check(limits)
        self._on_granted = granted
        self._on_refused = refused
        self._held: dict[str, Need] = {}
        self._arrivals = 0
        self._registry = Registry(limits, now)
        self._waiting = Waitlist(self._granted)
        self._waiting.max_bypass = limits.max_bypass
        self._is_settled = True
        self._before: list[Need] = []
        """Until it is settled: needs by an earlier structure, and for those that are renewed, what they are now."""
        self._renewed: dict[Need, Need] = {}

    def acquire(self, claim: Claim, now: float) -> bool:
        """Take the claim's tokens; if they cannot be taken it waits, and `granted` hears of it. Whether it has them.

        One that waits, and needs something else now, is amended.
        """
        name = claim.id
        if name in self._held:
            return True
        if name in self._waiting:
            return self.amend(claim, now)
        need = self._registry.needs.get((claim.tenant, claim.needs)) or self._registry.resolve(claim)
        need.count(1)
        blocking: PoolState | None = None
        if not need.is_plain:
            fits = self._is_settled and need.fits(now)
        else:
            fits = self._is_settled
            for pool, amount in need.items:  # a loop, as this is the way of nearly all claims
                if pool.free < amount or pool.order.size:
                    fits, blocking = False, pool
                    break
        if fits:
            need.take()
            self._held[name] = need
            return True
        self._arrivals += 1
        self._waiting.add(Waiter(name, need, (-claim.priority << _PLACES) + self._arrivals, now), now, blocking)
        return name in self._held

    def amend(self, claim: Claim, now: float) -> bool:
        """Have a claim that waits need something else, at its place; `since` is as before. Whether it has its tokens.

        One that is held, or unknown, is not changed. Raises Invalid, and changes nothing, as `acquire` does.
        """
        waiter = self._waiting.get(claim.id)
        if waiter is None:
            return claim.id in self._held
        need = self._registry.needs.get((claim.tenant, claim.needs)) or self._registry.resolve(claim)
        if need is not waiter.need:
            need.count(1)
            waiter.need.count(-1)
            self._waiting.amend(waiter, need, now)
        return claim.id in self._held

    def release(self, name: str, now: float) -> None:
        """Give the tokens of a claim back, or let it wait no more. One that is unknown was given back before."""
        need = self._held.pop(name, None)
        if need is not None:
            need.give_back()
        elif (waiter := self._waiting.remove(name)) is not None:
            need = waiter.need
        else:
            return
        need.count(-1)
        if self._waiting:
            for pool in need.pools:
                if pool.order.size:
                    pool.order.set_clock(now, releases=1)
            for node in need.nodes:
                for turn in node.turns.values():  # as `usage_changed`
                    turn.look_again()
            self._waiting.serve(need.pools, now)

    def restore(self, claim: Claim, now: float) -> None:
        """Count the tokens of a claim that is known to run, whether they are free or not."""
        if claim.id in self._held:
            return
        registry = self._registry
        need = registry.needs.get((claim.tenant, claim.needs)) or registry.resolve(claim, is_held=True)
        need.count(1)
        need.take()
        self._held[claim.id] = need
        if (waiter := self._waiting.remove(claim.id)) is not None:
            waiter.need.count(-1)
            self._waiting.serve([pool for pool, _ in waiter.need.items], now)

    def tick(self, now: float) -> None:
        """Grant what has become possible with time, and go on with a change of limits; `next_wake` says when to."""
        if self._is_settled:
            self._waiting.serve(self._registry.timed, now)
        else:
            self._settle(now)

    def next_wake(self) -> float | None:
        """When `tick` has to be called; None if nothing waits for time to pass."""
        return self._waiting.next_wake(self._registry.timed) if self._waiting or not self._is_settled else None

    def configure(self, limits: Limits, now: float) -> None:
        """Have other limits from now on. Claims that are held keep their tokens; those that wait and can never be met
        any more are refused. Limits that are wrong change nothing.

        Other numbers cost O(tenants and kinds of claims). If pools or limits of tenants come or go, or a pool gets
        another parent, it costs O(claims that are held), about 2 us each; claims that wait get new places in slices,
        the first of them at once and the others by `tick`. Until all have theirs nothing is granted.
        """
        check(limits)
        if _structure(limits) == _structure(self._registry.limits):
            self._registry.apply(limits, now)
            self._refuse_vain()
        else:
            self._rebuild(limits, now)
        self._waiting.max_bypass = limits.max_bypass
        if self._is_settled:
            self._waiting.serve(self._registry.pools.values(), now)
        else:
            self._settle(now)

    def _refuse_vain(self) -> None:
        """Give up claims that wait for more than there ever is."""
        vain = self._registry.drop_vain()
        for waiter in [waiter for waiter in self._waiting if waiter.need in vain] if vain else ():
            self._waiting.remove(waiter.id)
            waiter.need.count(-1)
            self._on_refused(waiter.id, never(waiter.id, *vain[waiter.need]))

    def _rebuild(self, limits: Limits, now: float) -> None:
        before, held = self._registry, self._held
        self._registry, self._held = Registry(limits, now, before.epoch + 1), {}
        for title, pool in self._registry.pools.items():
            if (old := before.pools.get(title)) is not None and old.rate is not None and pool.rate is not None:
                pool.level = min(pool.level, old.level)
        needs: dict[Need, Need] = {}
        for name, old_need in held.items():
            need = needs.get(old_need)
            if need is None:
                claim = Claim(name, old_need.tenant, old_need.needs)
                need = needs[old_need] = self._registry.resolve(claim, is_held=True)
            old_need.count(-1)
            need.count(1)
            need.take()
            self._held[name] = need
        self._before = [need for need in (*self._before, *before.needs.values()) if need.claims]
        self._renewed = {}
        self._waiting.unsettle(self._registry.epoch)
        self._is_settled = self._waiting.is_settled

    def _settle(self, now: float) -> None:
        """Give places to a slice of the claims that have lost theirs."""
        self._waiting.settle(_SLICE, self._renew, now)
        if self._waiting.is_settled:
            self._is_settled, self._before, self._renewed = True, [], {}
            self._waiting.serve(self._registry.pools.values(), now)

    def _renew(self, waiter: Waiter) -> Need | None:
        """What a claim takes by the structure in force; None if that can never be met."""
        need = self._renewed.get(waiter.need)
        if need is None:
            claim = _claim(waiter.id, waiter.need, self._registry.names)
            try:
                need = self._registry.needs.get((claim.tenant, claim.needs)) or self._registry.resolve(claim)
            except Invalid as error:
                self._on_refused(waiter.id, error)
                return None
            self._renewed[waiter.need] = need
        return need

    def _granted(self, waiter: Waiter) -> None:
        self._held[waiter.id] = waiter.need
        self._on_granted(waiter.id)

    def __len__(self) -> int:
        """Claims that wait."""
        return len(self._waiting)

    def __contains__(self, name: object) -> bool:
        """Whether the claim waits."""
        return name in self._waiting

    def __iter__(self) -> Iterator[str]:
        """The ids of claims that wait, in the order in which they came."""
        return (waiter.id for waiter in self._waiting)

    def is_held(self, name: str) -> bool:
        """Whether the claim has its tokens."""
        return name in self._held

    def held(self, name: str) -> tuple[tuple[str, int], ...]:
        """What the claim has, as it has asked for it; nothing if it waits or is unknown."""
        need = self._held.get(name)
        return () if need is None else need.needs

    @property
    def pools(self) -> Iterator[PoolState]:
        """All pools and what is held of each; limits of tenants are pools of their own, after those that are shared."""
        return iter(self._registry.pools.values())

    @property
    def remembered(self) -> int:
        """Tenants and kinds of claims in memory, with those that have no claims any more."""
        return len(self._registry)

    def usage(self) -> dict[Path, dict[str, int]]:
        """Tokens of shared pools that each tenant holds, with the tenants inside it."""
        return {
            path: {pool.name: amount for pool, amount in node.held.items() if amount}
            for path, node in self._registry.named()
        }

    def report(self) -> Usage:
        """What each pool and tenant holds and waits for. Costs O(pools and tenants)."""
        registry = self._registry
        first = [(waiter.need.tenant, waiter.need.items[0][0].name, 1) for waiter in self._waiting.put_first]
        unplaced = [(need.tenant, need.needs[0][0], need.claims) for need in self._before if need.needs]
        return usage_of(registry.pools.values(), registry.tenants, [*first, *unplaced])

    def explain(self, name: str) -> Wait | None:
        """Why a claim waits; None if it does not. Costs O(sqrt(claims of its tenant that wait for the same pool))."""
        waiter = self._waiting.get(name)
        if waiter is None:
            return None
        pool = waiter.pool or next((one for one, _ in waiter.need.items if one.free < 0), waiter.need.items[0][0])
        turn = waiter.need.leaf.turns.get(pool)
        return Wait(
            pool=pool.title,
            amount=waiter.need.of(pool),
            held=pool.held,
            capacity=pool.capacity,
            rate=pool.rate,
            tenant=waiter.need.tenant,
            ahead=0 if turn is None or waiter.pool is None else turn.ahead_of(waiter),
            waiting=pool.order.size,
            since=waiter.since,
            kept=waiter.need.kept_by_others(pool),
        )


def _claim(name: str, need: Need, known: Container[str]) -> Claim:
    """The claim of a need, without pools that are gone."""
    return Claim(name, need.tenant, tuple((pool, amount) for pool, amount in need.needs if pool in known))


def _structure(limits: Limits) -> tuple[object, ...]:
    """What of the limits makes the pools of a claim; all else can change in place."""
    pools = tuple((pool.name, pool.parent, pool.rate is None, pool.capacity is None) for pool in limits.pools)
    return pools, tuple(
        (tenant.name, tuple(tenant.limits), tuple(tenant.lending))
        for tenant in limits.tenants
        if tenant.limits or tenant.lending
    )
