"""Tokens that controllers of a world share in a store, which restarts, forgets, is slow, and is cut off from some."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal
from unittest import mock

import msgspec

from propeller.clock import Clock
from propeller.controller import _live_limits
from propeller.errors import Unavailable
from propeller.resourcemgr import ResourceOptions
from propeller.resourcemgr.shared import RedisOptions, SharedTokens
from propeller.resourcemgr.shared._messages import Answer, Statement
from propeller.resourcemgr.shared._store import Store
from tests.simulation.event_log import EventLog

_TIMEOUT = RedisOptions().timeout

_SHORT = 3.0
"""Seconds for which a controller may hear nothing of the store without losing what it has: with its pauses less than a
TTL.
"""


class SharedPools:
    """The store of a world. `out` are controllers that the store may have given up: they were killed or stood still, or
    their lines were cut for long.
    """

    only: ClassVar[Literal["", "losses", "nothing"]] = ""
    """What alone goes wrong with it in every world, now and then; "": whatever is drawn."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._rng = random.Random(f"store of tokens {seed}")
        self._event_log = event_log
        self._loses_data = random.Random(f"lost data of the store {seed}").random() < 0.3
        """Nothing else goes wrong with it: so all controllers are counted, all the time."""
        self._lost: Literal["slice", "stop"] = self._rng.choice(("slice", "slice", "stop"))
        self._longest_ttl = 0.0
        self._store = Store()
        self._run = 0
        self._old: list[Store] = [Store()]
        self._lines: list[_Line] = []
        self._tokens: dict[str, Any] = {}
        """By the name of the member."""
        self._is_left = False
        self.out: set[str] = set()

    def backend(self, who: str) -> AbstractContextManager[Any]:
        """Have a controller that is made within this block use the store."""

        def tokens(
            redis: RedisOptions, options: ResourceOptions, *, clock: Clock, taken_back: Callable[[str], None]
        ) -> SharedTokens:
            name = f"{who.replace(' ', '-')}.{len(self._lines)}"
            line = _Line(self, who, name, random.Random(f"line {name} {self._rng.random()}"))
            self._lines.append(line)
            found = SharedTokens(
                options,
                line,
                msgspec.structs.replace(redis, lost=self._lost),
                name,
                clock=clock,
                unused_after=options.unused_grant,
                taken_back=taken_back,
            )
            self._tokens[name] = found
            return found

        def backend_of(redis: RedisOptions) -> Any:
            self._longest_ttl = max(self._longest_ttl, redis.ttl)
            return functools.partial(tokens, redis)

        return mock.patch.object(_live_limits, "backend_of", backend_of)

    def exchange(self, statement: Statement) -> Answer:
        now = asyncio.get_running_loop().time() * 1000
        answer = self._store.exchange(statement, now, f"run {self._run}")
        for line in self._lines:
            if line.wake is not None and not self._store.woken.isdisjoint({"*", line.name}):
                asyncio.get_running_loop().call_later(0.001, line.woken, context=contextvars.Context())
        return answer

    async def trouble(self) -> None:
        """Until `leave`."""
        pace = self._rng.choice((2.0, 20.0, 60.0))
        kinds = [self._restart, self._forget, self._fail_over, self._cut, self._slow_down, self._lose, self._stop]
        kinds = self._rng.sample(kinds, self._rng.randint(1, len(kinds)))
        if self._loses_data:
            pace, kinds = 5.0, [self._forget, self._fail_over]
        if self.only:
            pace, kinds = 5.0, [self._forget, self._fail_over]
            self._is_left = self._is_left or self.only == "nothing"
        while not self._is_left:
            await asyncio.sleep(self._rng.expovariate(1 / pace))
            if self._lines and not self._is_left:
                self._rng.choice(kinds)()

    def leave(self) -> None:
        """From here on nothing goes wrong."""
        self._is_left = True
        for line in self._lines:
            line.heal()

    def _restart(self) -> None:
        self._say("restarts with its data")
        self._run += 1

    def _forget(self) -> None:
        self._say("restarts without its data")
        self._run += 1
        self._store = Store()

    def _fail_over(self) -> None:
        """What was written since the last trouble is lost."""
        self._say("fails over to a replica that lacks the last writes")
        self._run += 1
        self._store = copy.deepcopy(self._old[-1])

    def _cut(self) -> None:
        self._disturb(self._rng.choice(self._lines), self._rng.choice((1.0, _SHORT, 40.0)), slow=None)

    def _slow_down(self) -> None:
        seconds = self._rng.choice((0.3, 3.0))
        self._disturb(self._rng.choice(self._lines), self._rng.choice((1.0, _SHORT, 40.0)), slow=seconds)

    def _lose(self) -> None:
        self._rng.choice(self._lines).loses = self._rng.randint(1, 3)

    def _stop(self) -> None:
        """For all: nobody's lease ends, as nobody tells the store of time."""
        seconds = self._rng.choice((1.0, 10.0, 60.0))
        self._say(f"is down for {seconds:g} s")
        for line in self._lines:
            line.disturb(seconds, None)
            if seconds > _SHORT:  # some are back before others
                self.out.add(line.who)

    def _disturb(self, line: _Line, seconds: float, slow: float | None) -> None:
        self._say(f"is {'cut off' if slow is None else f'{slow:g} s away'} from {line.who} for {seconds:g} s")
        if seconds > _SHORT:
            self.out.add(line.who)
        line.disturb(seconds, slow)

    def _say(self, what: str) -> None:
        self._event_log.record(f"the store of tokens {what}")
        self._old.append(copy.deepcopy(self._store))
        del self._old[:-3]

    async def check(self) -> None:
        """At the end, when nothing runs and waits, all tokens have come back but those of creates without an answer."""
        await asyncio.sleep(4 * self._longest_ttl)
        doubtful = [set(tokens._callers._unused) & set(tokens._member._held) for tokens in self._alive()]
        out, held = sum(self._store.leases.values()), [pool.held for pool in self._store.pools.values()]
        if out != sum(map(len, doubtful)) or any(amount != out for amount in held):
            self._event_log.violation(f"tokens are out at the end: {self._store.leases}, {held}; in doubt: {doubtful}")

    def _alive(self) -> list[Any]:
        return [tokens for name, tokens in self._tokens.items() if name in self._store.members]


class _Line:
    """A controller's way to the store."""

    place = "the store"

    def __init__(self, pools: SharedPools, who: str, name: str, rng: random.Random) -> None:
        self._pools = pools
        self.who = who
        self.name = name
        self._rng = rng
        self._until = 0.0
        """It is disturbed until then: by `_slow` seconds; None: cut."""
        self._slow: float | None = None
        self.loses = 0
        self.is_doubtful = False
        self.wake: Callable[[], None] | None = None

    def disturb(self, seconds: float, slow: float | None) -> None:
        self._until, self._slow = asyncio.get_running_loop().time() + seconds, slow

    def heal(self) -> None:
        self._until, self.loses = 0.0, 0

    def woken(self) -> None:
        if self.wake is not None and not self._is_disturbed:
            self.wake()

    @property
    def _is_disturbed(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    async def exchange(self, statement: Statement) -> Answer:
        await self._pass()
        answer = self._pools.exchange(statement)
        if self.loses:
            self.loses -= 1
            await asyncio.sleep(_TIMEOUT)
            raise Unavailable("the answer was lost")
        await self._pass()
        return answer

    async def probe(self) -> None:
        await self._pass()

    async def _pass(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 0.002))
        if not self._is_disturbed:
            return
        await asyncio.sleep(min(self._slow or 0.0, _TIMEOUT))
        if self._slow is None or self._slow >= _TIMEOUT:
            self.is_doubtful = True
            raise Unavailable("no route" if self._slow is None else "no answer in time")

    @asynccontextmanager
    async def waking(self, wake: Callable[[], None]) -> AsyncIterator[None]:
        self.wake = wake
        try:
            yield
        finally:
            self.wake = None
