"""Map tasks in all their forms: over several lists at once, over lists of lists, with inputs that all items share, with
items that may fail, and in flytekit's older form.

propeller run examples/maps.py maps --ns '[1, 2, 3, 4]'
"""

from __future__ import annotations

import functools

from flytekit import map_task, task, workflow
from flytekit.core.legacy_map_task import map_task as older_map_task


@task
def tens(ns: list[int]) -> list[int]:
    return [10 * n for n in ns]


@task
def weigh(a: int, b: int, weights: list[int], unit: str) -> str:
    """One item: an element of each list that is mapped over, and all of what is not."""
    return f"{a * weights[0] + b * weights[1]} {unit}"


@task
def row(n: int) -> list[int]:
    return list(range(n))


@task
def total(row: list[int]) -> int:
    return sum(row)


@task
def odd(n: int) -> int:
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n


@task
def scale(n: int, by: int) -> int:
    return n * by


@task
def found(values: list[int | None]) -> int:
    return len([value for value in values if value is not None])


@workflow
def maps(ns: list[int] = [1, 2, 3, 4]) -> tuple[list[str], list[int], list[int | None], int, list[int]]:  # noqa: B006
    """Several lists; lists of lists; items of which half may fail, and how many did not; the older form."""
    weighed = map_task(functools.partial(weigh, weights=[2, 3], unit="kg"))(a=ns, b=tens(ns=ns))
    totals = map_task(total, concurrency=2)(row=map_task(row)(n=ns))
    odds = map_task(odd, min_success_ratio=0.5)(n=ns)
    return weighed, totals, odds, found(values=odds), older_map_task(functools.partial(scale, by=3))(n=ns)
