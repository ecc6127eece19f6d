"""Several reads at once, none of which is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def together(jobs: Iterable[Awaitable[T]], *, at_hand: bool = False) -> list[T]:
    """What the jobs return, in their order. Where some fail, the first failure is raised once all have ended.

    Where what they read is `at_hand` they are done one after the other, up to the first failure; `jobs` has to make
    them as they are asked for.
    """
    if at_hand:
        return [await job for job in jobs]
    jobs = list(jobs)
    if len(jobs) <= 1:
        return [await job for job in jobs]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
