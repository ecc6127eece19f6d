"""Tests of retries run on virtual time; those with sockets and processes on real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from propeller.testing import VirtualTimeLoop

VIRTUAL = {"test_client", "test_deadline", "test_flows", "test_http_connection"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop} if item.path.stem in VIRTUAL else {"real": asyncio.new_event_loop}
