"""A store in files, small limits, and a directory for a task's files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from propeller.dataloader import Limits
from propeller.storage import Storage, StorageOptions


@pytest.fixture
def limits() -> Limits:
    return Limits(bytes=10_000, files=20, depth=5, value_bytes=1000)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The directory of the store."""
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
async def storage(store: Path) -> AsyncIterator[Storage]:
    settings = StorageOptions(metadata_prefix=f"file://{store}/metadata", raw_output_prefix=f"file://{store}/raw")
    async with Storage(settings, trusting=True) as storage:
        yield storage
