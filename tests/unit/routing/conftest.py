"""The tests of this package run on virtual time, but for those that wait for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from propeller.testing import VirtualTimeLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if "test_follow_file" in item.nodeid:
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}
