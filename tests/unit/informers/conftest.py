"""The tests of this package run on virtual time."""

from __future__ import annotations

import pytest

from tests.unit.informers.fake_api import FakeApi
from tests.unit.reconcile.virtual import pytest_asyncio_loop_factories

__all__ = ["api", "pytest_asyncio_loop_factories"]


@pytest.fixture(params=["pages", "streams"])
def api(request: pytest.FixtureRequest) -> FakeApi:
    """Whichever way it lists."""
    return FakeApi(streams=request.param == "streams")
