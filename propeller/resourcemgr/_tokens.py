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
from propeller.errors import Invalid
from propeller.resourcemgr._backend import Granted, Refused, TakenBack
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._ledger import Ledger
from propeller.resourcemgr._limits import Limits
from propeller.resourcemgr._options import ResourceOptions
from propeller.resourcemgr._rules import Needs
from propeller.resourcemgr._usage import Usage

_SHORTEST = 0.001
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
        self._unused_after = unused_after
        self._taken_back = taken_back
        self._waiting: dict[str, tuple[Granted, Refused]] = {}
        self._unused: dict[str, asyncio.TimerHandle] = {}
        """Of claims that were granted and are not used yet, what takes them back."""
        self._wake: asyncio.TimerHandle | None = None
        self.ledger = Ledger(limits, clock.monotonic(), self._on_granted, self._on_refused)

    def request(self, claim: Claim, granted: Granted, refused: Refused) -> bool:
        if self.ledger.acquire(claim, self._clock.monotonic()):
            return True
        self._waiting.setdefault(claim.id, (granted, refused))
        self._schedule()
        return False

    def amend(self, claim: Claim) -> None:
        self.ledger.amend(claim, self._clock.monotonic())
        self._schedule()

    def use(self, name: str) -> None:
        if (timer := self._unused.pop(name, None)) is not None:
            timer.cancel()

    def doubt(self, name: str) -> None:
        if name not in self._unused and self.ledger.is_held(name):
            self._take_back_later(name)

    def release(self, name: str) -> None:
        self.use(name)
        self._waiting.pop(name, None)
        self.ledger.release(name, self._clock.monotonic())
        self._schedule()

    def restore(self, claim: Claim) -> None:
        self._waiting.pop(claim.id, None)
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
        for timer in (*self._unused.values(), *([self._wake] if self._wake else [])):
            timer.cancel()
        self._unused.clear()
        self._waiting.clear()

    def is_held(self, name: str) -> bool:
        return self.ledger.is_held(name)

    def held(self, name: str) -> Needs:
        return self.ledger.held(name)

    @property
    def waiting(self) -> int:
        return len(self.ledger)

    def report(self) -> Usage:
        return self.ledger.report()

    def explain(self, name: str) -> Wait | None:
        return self.ledger.explain(name)

    def _on_granted(self, name: str) -> None:
        granted, _ = self._waiting.pop(name, (None, None))
        self._take_back_later(name)
        if granted is not None:
            asyncio.get_running_loop().call_soon(self._call, name, granted)

    def _take_back_later(self, name: str) -> None:
        self._unused[name] = asyncio.get_running_loop().call_later(self._unused_after, self._take_back, name)

    def _call(self, name: str, granted: Granted) -> None:
        if name in self._unused:
            granted()

    def _on_refused(self, name: str, error: Invalid) -> None:
        _, refused = self._waiting.pop(name, (None, None))
        if refused is not None:
            asyncio.get_running_loop().call_soon(refused, error)

    def _take_back(self, name: str) -> None:
        if name in self._unused:
            self.release(name)
            if self._taken_back is not None:
                self._taken_back(name)

    def _schedule(self) -> None:
        """Have `tick` called when time alone makes room for a claim."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if (wake := self.ledger.next_wake()) is not None:
            after = max(_SHORTEST, wake - self._clock.monotonic())
            self._wake = asyncio.get_running_loop().call_later(after, self._tick)

    def _tick(self) -> None:
        self._wake = None
        self.ledger.tick(self._clock.monotonic())
        self._schedule()


def in_memory(options: ResourceOptions, *, clock: Clock, taken_back: TakenBack) -> MemoryTokens:
    """The backend that is used unless another one is chosen."""
    return MemoryTokens(options, clock=clock, unused_after=options.unused_grant, taken_back=taken_back)
