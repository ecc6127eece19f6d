"""Tokens in a real Redis, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from propeller.resourcemgr import Limits
from propeller.resourcemgr.shared import RedisOptions, RedisStore, SharedTokens
from propeller.testing import RedisServer
from tests.unit.resourcemgr.shared.exchange import primer


def options_of(server: RedisServer, **changed: object) -> RedisOptions:
    return msgspec.structs.replace(RedisOptions(url=server.url, ttl=15.0), **changed)


async def prime(options: RedisOptions) -> None:
    """Have a process state nothing, as if the store had been there for long."""
    store = RedisStore(options, "primer")
    await store.exchange(primer())
    async with store.waking(lambda: None):
        pass  # closes it


@asynccontextmanager
async def shared(
    options: RedisOptions, of: Limits, name: str = "one", *, unused_after: float = 60.0
) -> AsyncIterator[SharedTokens]:
    """The tokens of a process, connected."""
    tokens = SharedTokens(of, RedisStore(options, name), options, name, unused_after=unused_after)
    async with tokens.running():
        yield tokens
