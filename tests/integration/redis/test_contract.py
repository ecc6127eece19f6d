"""The contract of tokens, in a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from propeller.resourcemgr import Limits, Tokens
from propeller.testing import RedisServer
from tests.integration.redis.stores import options_of, prime, shared
from tests.unit.resourcemgr.contract import *  # noqa: F403 - the tests
from tests.unit.resourcemgr.contract import UNUSED_AFTER, Backend

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
def backend(redis: RedisServer) -> Backend:
    @asynccontextmanager
    async def running(of: Limits) -> AsyncIterator[Tokens]:
        options = options_of(redis)
        await prime(options)
        async with shared(options, of, unused_after=UNUSED_AFTER) as tokens:
            yield tokens

    return running
