"""An output leads back to its execution, whatever other executions there are."""

from __future__ import annotations

import asyncio

import pytest

from propeller.cli._lineage import _search
from propeller.config import Settings
from propeller.errors import PropellerError
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_recovery import create
from tests.unit.workflow.drive import task


async def spoil(of: Bench, name: str) -> None:
    """Somebody writes a status that nobody can read."""
    await of.user.patch(WORKFLOWS, name, "ns", body={"status": {"nodes": "nonsense"}}, subresource="status")


async def test_an_execution_that_cannot_be_read_hides_no_other() -> None:
    async with bench() as of:
        async with of.controller():
            for name in ("a", "wanted"):
                await create(of, name, task("n0"))
            await asyncio.sleep(2.0)
        await spoil(of, "a")
        uri = "s3://bucket/data/wanted-n0-0/model.bin"
        found = await _search(uri, of.user, of.storage, None, Settings())
        assert found.execution.info.name == "wanted"
        await spoil(of, "wanted")
        with pytest.raises(PropellerError, match=r"is of no execution .* ns/a cannot be read"):
            await _search(uri, of.user, of.storage, None, Settings())
