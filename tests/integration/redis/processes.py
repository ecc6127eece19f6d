"""Processes that share a pool of four tokens in Redis, and what each of them has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from propeller.resourcemgr import Claim, Limits, Pool
from propeller.resourcemgr.shared import RedisOptions, SharedTokens
from propeller.testing import RedisServer, eventually
from tests.integration.redis.stores import options_of, shared

TTL = 2.0
CAPACITY = 4
FOUR = Limits(pools=(Pool(name="api", capacity=CAPACITY),))


class Process:
    """Claims of one process, and which of them have tokens."""

    def __init__(self, name: str, tokens: SharedTokens) -> None:
        self.name = name
        self.tokens = tokens
        self.held: list[str] = []
        self._count = 0

    def ask(self, count: int) -> None:
        """Request so many tokens, each for itself."""
        for _ in range(count):
            self._count += 1
            name = f"{self.name}{self._count}"
            claim, granted = Claim(name, (self.name,), (("api", 1),)), partial(self._granted, name)
            answer = self.tokens.request(claim, granted, lambda _: None)
            if not isinstance(answer, bool):
                asyncio.ensure_future(answer).add_done_callback(partial(self._answered, name))
            elif answer:
                granted()

    def _answered(self, name: str, answer: asyncio.Future[bool]) -> None:
        if answer.result():
            self._granted(name)

    def _granted(self, name: str) -> None:
        self.tokens.use(name)
        self.held.append(name)

    def end(self) -> None:
        """What was granted first ends."""
        self.tokens.release(self.held.pop(0))

    async def has(self, count: int) -> None:
        """Wait until it has so many tokens."""
        await eventually(lambda: len(self.held) == count or None, interval=0.01)

    async def keeps(self, count: int, *, seconds: float) -> None:
        """Nothing is granted to it for so long."""
        await asyncio.sleep(seconds)
        assert len(self.held) == count


@asynccontextmanager
async def process(name: str, options: RedisOptions, of: Limits = FOUR) -> AsyncIterator[Process]:
    async with shared(options, of, name) as tokens:
        yield Process(name, tokens)


def short(redis: RedisServer, **changed: Any) -> RedisOptions:
    """Options by which faults are over soon."""
    return options_of(redis, **{"ttl": TTL, "timeout": 0.5, "lost_after": 0.3, **changed})
