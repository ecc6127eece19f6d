"""Deadlines of blocks, on virtual time; and that they are what asyncio.timeout is."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.kube._deadline import Deadline
from propeller.testing import now, run_virtually
from tests.examples import examples


async def test_a_block_that_is_done_in_time_is_left_alone() -> None:
    with Deadline(5.0):
        await asyncio.sleep(4.0)
    await asyncio.sleep(10.0)
    assert now() == 14.0


async def test_a_block_that_takes_too_long_raises_timeout_at_the_deadline() -> None:
    with pytest.raises(TimeoutError), Deadline(5.0):
        await asyncio.sleep(60.0)
    assert now() == 5.0
    await asyncio.sleep(1.0)  # nothing is left of the cancellation
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr] # a test is a task


async def test_an_error_of_the_block_passes_through() -> None:
    with pytest.raises(ValueError, match="mine"), Deadline(5.0):
        raise ValueError("mine")


def test_a_deadline_outside_of_a_task_is_refused() -> None:
    async def main() -> None:
        failed = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                with Deadline(1.0):
                    failed.set_result(None)
            except RuntimeError as error:
                failed.set_exception(error)

        asyncio.get_running_loop().call_soon(callback)
        with pytest.raises(RuntimeError, match="needs a task"):
            await failed

    run_virtually(main())


TIMES = st.sampled_from([0.0, 1.0, 2.0, 3.0])


@examples(200)
@given(TIMES, TIMES, TIMES, st.none() | TIMES)
def test_it_ends_as_asyncio_timeout_does_nested_and_cancelled_at_any_time(
    outer: float, inner: float, work: float, cancel: float | None
) -> None:
    async def ours() -> str:
        with Deadline(outer):
            try:
                with Deadline(inner):
                    await asyncio.sleep(work)
            except TimeoutError:
                await asyncio.sleep(0.5)
                return f"inner at {now()}"
        return f"done at {now()}"

    async def theirs() -> str:
        async with asyncio.timeout(outer):
            try:
                async with asyncio.timeout(inner):
                    await asyncio.sleep(work)
            except TimeoutError:
                await asyncio.sleep(0.5)
                return f"inner at {now()}"
        return f"done at {now()}"

    async def end_of(block: asyncio.Task[str]) -> str:
        if cancel is not None:
            asyncio.get_running_loop().call_later(cancel, block.cancel)
        (result,) = await asyncio.gather(block, return_exceptions=True)
        return result if isinstance(result, str) else f"{type(result).__name__} at {now()}"

    async def run_ours() -> str:
        return await end_of(asyncio.create_task(ours()))

    async def run_theirs() -> str:
        return await end_of(asyncio.create_task(theirs()))

    assert run_virtually(run_ours()) == run_virtually(run_theirs())
