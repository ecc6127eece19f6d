"""Commands set the process's logs up: what they set up ends with the test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Regression: a command's handler and level were left to other tests, and wrote to a closed stream."""
    root, ours = logging.getLogger(), logging.getLogger("propeller")
    handlers, level, own = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(own)
    root.setLevel(level)
