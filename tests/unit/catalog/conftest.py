"""The tests of this package run on virtual time."""

from tests.unit.virtual import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
