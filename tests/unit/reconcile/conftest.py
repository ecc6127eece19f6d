"""The tests of this package run on virtual time, but for those of the watchdog, which is about threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from propeller.testing import VirtualTimeLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"real": asyncio.new_event_loop} if item.path.stem == "test_watchdog" else {"virtual": VirtualTimeLoop}
