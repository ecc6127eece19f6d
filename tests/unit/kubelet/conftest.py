"""Events run on virtual time; what reads and writes files does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from propeller.testing import VirtualTimeLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    virtual = item.path.stem == "test_kubelet_events"
    return {"virtual": VirtualTimeLoop} if virtual else {"real": asyncio.new_event_loop}
