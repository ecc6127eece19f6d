"""Tokens of one process: a ledger with the loop's time, that calls back when a claim that waited is granted.

Guarantees
    Those of `Tokens`. `request` has its answer at once.
Assumptions
    One process is the only one that takes these tokens. What ran before it did is counted with `restore`, before the
    first `request`.
Errors
    As the ledger's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.resourcemgr._backend import Granted, Refused, TakenBack
from propeller.resourcemgr._callers import Callers
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._ledger import Ledger
from propeller.resourcemgr._limits import Limits
from propeller.resourcemgr._options import ResourceOptions
from propeller.resourcemgr._rules import Needs
from propeller.resourcemgr._usage import Usage

_MIN_DELAY = 0.001
"""Seconds between two ticks: a token of a fast rate need not come sooner."""


class MemoryTokens:
    """See the module's text, and `Tokens` for what its methods do. `close` cancels what it has scheduled.

    More than 15 methods: nearly all of them are the interface.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Clock = SYSTEM_CLOCK,
        unused_after: float = 60.0,
        taken_back: TakenBack | None = None,
    ) -> None:
        self._clock = clock
        self._callers = Callers(unused_after, self.release, taken_back)
        self._wake: asyncio.TimerHandle | None = None
        self.ledger = Ledger(limits, clock.monotonic(), self._callers.granted, self._callers.refused)

    def request(self, claim: Claim, granted: Granted, refused: Refused) -> bool:
        if self.ledger.acquire(claim, self._clock.monotonic()):
            return True
        self._callers.add(claim.id, granted, refused)
        self._schedule()
        return False

    def amend(self, claim: Claim) -> None:
        self.ledger.amend(claim, self._clock.monotonic())
        self._schedule()

    def use(self, name: str) -> None:
        self._callers.use(name)

    def doubt(self, name: str) -> None:
        if not self._callers.is_unused(name) and self.ledger.is_held(name):
            self._callers.take_back_later(name)

    def release(self, name: str) -> None:
        self.use(name)
        self._callers.drop(name, False)
        self.ledger.release(name, self._clock.monotonic())
        self._schedule()

    def restore(self, claim: Claim) -> None:
        self._callers.drop(claim.id, True)
        self.ledger.restore(claim, self._clock.monotonic())
        self._schedule()

    def configure(self, limits: Limits) -> None:
        self.ledger.configure(limits, self._clock.monotonic())
        self._schedule()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        self._callers.close()
        if self._wake is not None:
            self._wake.cancel()

    def is_held(self, name: str) -> bool:
        return self.ledger.is_held(name)

    def held(self, name: str) -> Needs:
        return self.ledger.held(name)

    @property
    def waiting(self) -> int:
        return len(self.ledger)

    def report(self, *, own: bool = False) -> Usage:
        return self.ledger.report()

    def speaks(self) -> bool:
        return True

    def explain(self, name: str) -> Wait | None:
        return self.ledger.explain(name)

    def _schedule(self) -> None:
        """Have `tick` called when time alone makes room for a claim."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if (wake := self.ledger.next_wake()) is not None:
            after = max(_MIN_DELAY, wake - self._clock.monotonic())
            self._wake = asyncio.get_running_loop().call_later(after, self._tick)

    def _tick(self) -> None:
        self._wake = None
        self.ledger.tick(self._clock.monotonic())
        self._schedule()


def in_memory(options: ResourceOptions, *, clock: Clock, taken_back: TakenBack) -> MemoryTokens:
    """The backend that is used unless another one is chosen."""
    return MemoryTokens(options, clock=clock, unused_after=options.unused_grant, taken_back=taken_back)
