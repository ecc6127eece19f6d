"""The tests of this package run on virtual time, but for those of the HTTP front, which is about sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import Client
from propeller.testing import VirtualTimeLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"real": asyncio.new_event_loop} if item.path.stem == "test_http" else {"virtual": VirtualTimeLoop}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> Client:
    return Client(server.transport(), clock=LoopClock())
