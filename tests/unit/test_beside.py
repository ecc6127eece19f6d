"""A task beside a block ends with the block, and is missed if it ends before."""

from __future__ import annotations

import asyncio

import pytest

from propeller.beside import beside


async def test_it_is_cancelled_and_awaited_when_the_block_is_left(caplog: pytest.LogCaptureFixture) -> None:
    told = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("it has ended")

    async with beside(work(), "work"):
        await asyncio.sleep(0)
        assert not told
    assert told == ["it has ended"]
    assert not caplog.records


async def test_a_defect_that_ends_it_is_logged_while_the_block_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async with beside(work(), "look at jobs"):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (record,) = caplog.records
    assert "a defect has ended 'look at jobs'" in record.getMessage()
    assert record.exc_info
