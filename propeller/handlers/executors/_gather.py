"""Await several reads, and leave none running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def gather(jobs: Iterable[Awaitable[T]], *, in_sequence: bool = False) -> list[T]:
    """Await the jobs at once and return their results in order. If some fail, raise the first failure after all ended.

    `in_sequence` awaits them one after the other and stops at the first failure, for jobs that do not suspend: pass a
    generator, so that later coroutines are never created.
    """
    if in_sequence:
        return [await job for job in jobs]
    jobs = list(jobs)
    if len(jobs) <= 1:
        return [await job for job in jobs]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
