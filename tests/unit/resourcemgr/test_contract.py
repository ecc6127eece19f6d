"""The contract of tokens, on those in memory and on those of a shared store that is an object; in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from propeller.clock import LoopClock
from propeller.resourcemgr import Limits, MemoryTokens, Tokens
from propeller.resourcemgr.shared import RedisOptions, SharedTokens
from tests.unit.resourcemgr.contract import *  # noqa: F403 - the tests
from tests.unit.resourcemgr.contract import UNUSED_AFTER, Backend
from tests.unit.resourcemgr.shared.exchange import Line, Server


@asynccontextmanager
async def _in_memory(of: Limits) -> AsyncIterator[Tokens]:
    tokens = MemoryTokens(of, clock=LoopClock(), unused_after=UNUSED_AFTER)
    async with tokens.running():
        yield tokens


@asynccontextmanager
async def _shared(of: Limits) -> AsyncIterator[Tokens]:
    server = Server()
    tokens = SharedTokens(
        of, Line(server, "one"), RedisOptions(ttl=15.0), "one", clock=LoopClock(), unused_after=UNUSED_AFTER
    )
    async with tokens.running():
        yield tokens


@pytest.fixture(params=["memory", "shared"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return _in_memory if request.param == "memory" else _shared
