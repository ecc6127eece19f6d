"""The tests of this package run on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from propeller.testing import VirtualTimeLoop
from tests.unit.informers.fake_api import FakeApi


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(params=["pages", "streams"])
def api(request: pytest.FixtureRequest) -> FakeApi:
    """Whichever way it lists."""
    return FakeApi(streams=request.param == "streams")
