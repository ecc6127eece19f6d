"""Workflows to measure with."""

from __future__ import annotations

from flytekit import task, workflow


@task  # type: ignore[untyped-decorator]  # flytekit has no types
def step(x: int) -> int:
    return x + 1


@workflow  # type: ignore[untyped-decorator]  # flytekit has no types
def chain(x: int = 0) -> int:
    """18 tasks, one after the other."""
    for _ in range(18):
        x = step(x=x)
    return x
