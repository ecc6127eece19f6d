"""Launches on an API server under load: few at once, the greediest tenants' last; nothing else waits.

Guarantees
    While the client's limit of creates is below its most (`kube.FlowLimit`: a 429, 503 or 504, slow creates), as many
    launches are under way as it allows. Others wait without a worker and without a request, say so in their status, and
    are woken. They keep the tokens that they have; room in a quota they give back, with their place kept.
    Tenants take turns by weight. One that has more launched and running than its weight's part of all has fewer turns,
    in proportion, down to one in `MAX_GREED`: none waits for ever. Within a tenant, first come, first served.
    A server that is not under load costs a launch two additions.
Caveats
    What runs of a tenant is counted while launches wait, every `COUNT_SECONDS`, and is that of this process.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from propeller.clock import Clock
from propeller.handlers.executors._gates import refusals_of
from propeller.handlers.executors._tokens import LOOKS_A_SECOND, MIN_LOOK
from propeller.handlers.executors._waits import Holder, holder_of, tenant_of
from propeller.kube import FlowLimit
from propeller.resourcemgr import Path, TenantTurns
from propeller.workflow import NodeView, Refusals, Refused

WAITS = "waits for the API server"
"""How the reason begins."""

MAX_GREED = 8.0
"""Times more than its weight's part that a tenant is charged for at most."""

COUNT_SECONDS = 5.0
"""Between two counts of what runs, which cost time in proportion to that."""

UNUSED_SECONDS = 60.0
"""After which a slot is given to another launch: the attempt that had it was given up, or is late."""

_REFILL = 2
"""Times the limit of creates that launches are under way once the load is over, while others still wait: one creates,
one gets ready.
"""


class Slot(NamedTuple):
    """What a launch that has waited may use."""

    holder: Holder
    unused: asyncio.TimerHandle


class LaunchPressure:
    """One for each API server. More than 15 methods: one for each thing that happens to a launch, and each step of it.

    `creates` is the client's limit of creates. `granted` is called when an attempt that has
    waited may be launched; it returns whether that is still wanted. `running` counts attempts by tenant. `given_up` is
    called for one that waits no more, or does not use its slot.
    """

    def __init__(
        self,
        creates: FlowLimit,
        clock: Clock,
        granted: Callable[[Holder], bool],
        *,
        weight_of: Callable[[Path], float] = lambda tenant: 1.0,
        running: Callable[[], Mapping[Path, int]] = dict,
        given_up: Callable[[Holder], None] = lambda holder: None,
    ) -> None:
        self.creates = creates
        self.under_way = 0
        """Launches that may send their create, or have."""
        self._clock = clock
        self._granted = granted
        self._weight_of = weight_of
        self._running = running
        self._given_up = given_up
        self._turns = TenantTurns(weight_of)
        self._waiting: dict[Path, OrderedDict[str, Holder]] = {}
        """By tenant, in the order in which they came."""
        self._tenants: dict[str, Path] = {}
        """Of the claims that wait."""
        self._slots: dict[str, Slot] = {}
        """Of claims that have waited, have a slot now, and have not asked for it."""
        self._of_execution: dict[str, set[str]] = {}
        """Claims that wait or have a slot, by their execution's uid."""
        self._stock: Counter[Path] = Counter()
        """What runs, as it was counted last, and was let through since."""
        self._counted_at = -COUNT_SECONDS
        creates.on_room = self.serve

    @property
    def waiting(self) -> int:
        """Launches that wait."""
        return len(self._tenants)

    def ask(self, node: NodeView, attempt: int) -> Refused | None:
        """Let a launch through, which `done` has to follow; if it has to wait, what to tell its node."""
        if not self._tenants and not self._slots and not self.creates.is_pressed:
            self.under_way += 1
            return None
        holder, tenant = holder_of(node, attempt), tenant_of(node.execution.info)
        name = holder.claim
        if self._take_slot(name):
            return None
        if not self._tenants and self.under_way < self._room():
            self._let_through(tenant)
            return None
        self._put(holder, tenant)
        self.serve(asking=name)
        return None if self._take_slot(name) else self._waits(node, attempt)

    def refused(self, node: NodeView, attempt: int) -> Refused:
        """The API server had no room for a create that was let through: it waits, as the first of its tenant. Returns
        what to tell its node.
        """
        holder, tenant = holder_of(node, attempt), tenant_of(node.execution.info)
        self._put(holder, tenant)
        self._waiting[tenant].move_to_end(holder.claim, last=False)
        return self._waits(node, attempt, tries=1)

    def holds(self, node: NodeView, attempt: int) -> bool:
        """Whether a launch waits, or has a slot that it has not used."""
        if not self._of_execution:
            return False
        name = holder_of(node, attempt).claim
        return name in self._tenants or name in self._slots

    def slot_of(self, node: NodeView, attempt: int) -> Slot | None:
        """The slot that a launch has, as it has waited."""
        return self._slots.get(holder_of(node, attempt).claim) if self._slots else None

    def give_back(self, slot: Slot) -> None:
        """The launch that had the slot waits for something else, or is over. Does nothing if it has used it."""
        name = slot.holder.claim
        if self._slots.get(name) is slot:
            del self._slots[name]
            slot.unused.cancel()
            self._forget(slot.holder)
            self.done()

    def done(self) -> None:
        """A launch that was let through has sent its create, or never will."""
        self.under_way -= 1
        if self._tenants:  # later, as a launch that was refused has yet to tell its node that it waits
            asyncio.get_running_loop().call_soon(self.serve)

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits, or has a slot that it has not used."""
        return uid in self._of_execution

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone: nothing of it waits any more."""
        for name in tuple(self._of_execution.get(uid, ())):
            if (tenant := self._tenants.get(name)) is not None:
                holder = self._waiting[tenant].pop(name)
                self._drop(name, tenant)
                self._leave(holder)
            else:
                self._not_used(name)

    def serve(self, *, asking: str = "") -> None:
        """Let through what there is room for; the one that is `asking` is not called back."""
        while self._tenants and self.under_way < self._room():
            tenant = min(self._waiting, key=self._turns.start)
            name, holder = self._waiting[tenant].popitem(last=False)
            self._drop(name, tenant)
            if name != asking and not self._granted(holder):
                self._leave(holder)
                continue
            self._let_through(tenant)
            loop = asyncio.get_running_loop()
            unused = loop.call_later(UNUSED_SECONDS, functools.partial(self._not_used, name))
            self._slots[name] = Slot(holder, unused)

    def close(self) -> None:
        """Let nothing through any more."""
        self.creates.on_room = None
        for _, unused in self._slots.values():
            unused.cancel()
        self._slots.clear()
        self._waiting.clear()
        self._tenants.clear()

    def _room(self) -> int:
        creates = self.creates
        return creates.limit - creates.reserved if creates.is_pressed else _REFILL * creates.maximum

    def _let_through(self, tenant: Path) -> None:
        self.under_way += 1
        self._turns.served(tenant, self._greed(tenant))
        self._stock[tenant] += 1

    def _put(self, holder: Holder, tenant: Path) -> None:
        self._waiting.setdefault(tenant, OrderedDict()).setdefault(holder.claim, holder)
        self._tenants[holder.claim] = tenant
        self._of_execution.setdefault(holder.uid, set()).add(holder.claim)

    def _take_slot(self, name: str) -> bool:
        """Use the slot that a claim was given, if it was."""
        if (slot := self._slots.pop(name, None)) is None:
            return False
        holder, unused = slot
        unused.cancel()
        self._forget(holder)
        return True

    def _not_used(self, name: str) -> None:
        if (slot := self._slots.pop(name, None)) is not None:
            holder, unused = slot
            unused.cancel()
            self._leave(holder)
            self.done()

    def _leave(self, holder: Holder) -> None:
        self._forget(holder)
        self._given_up(holder)

    def _forget(self, holder: Holder) -> None:
        names = self._of_execution[holder.uid]
        names.discard(holder.claim)
        if not names:
            del self._of_execution[holder.uid]

    def _drop(self, name: str, tenant: Path) -> None:
        del self._tenants[name]
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def _greed(self, tenant: Path) -> float:
        """How many times more than its weight's part of all that runs the tenant has; 1 if it has no more."""
        now = self._clock.monotonic()
        if not 0 <= now - self._counted_at < COUNT_SECONDS:
            self._stock, self._counted_at = Counter(self._running()), now
        everybody = self._waiting.keys() | self._stock.keys() | {tenant}
        weights = {one: self._whole_weight(one) for one in everybody}
        part = weights[tenant] / sum(weights.values())
        held = self._stock[tenant] / max(1, self._stock.total())
        return max(1.0, min(held / part, MAX_GREED))

    def _whole_weight(self, tenant: Path) -> float:
        weight = 1.0
        for length in range(1, len(tenant) + 1):
            weight *= self._weight_of(tenant[:length])
        return weight

    def _waits(self, node: NodeView, attempt: int, *, tries: int = 0) -> Refused:
        before, now = refusals_of(node), self._clock.now()
        reason = f"{WAITS}: {self._why()}"
        refusals = Refusals(before.tries + tries, before.since or now, before.denied, reason)
        again = max(MIN_LOOK, self.waiting / LOOKS_A_SECOND)
        return Refused(attempt, reason, again, refusals, repeats=before.reason.startswith(WAITS), queued=not tries)

    def _why(self) -> str:
        creates = self.creates
        if not creates.is_pressed:
            return "others have waited for longer"
        asked = f", {creates.reserved} have to pause" if creates.reserved else ""
        cause = creates.cause or "it asks to wait"
        return f"{cause}; {creates.limit} of {creates.maximum} creates may be under way{asked}"
