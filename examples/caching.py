"""Tasks that run once for the same inputs: run it twice, and the second run creates no pod for them."""

from __future__ import annotations

from typing import Annotated

import flytekit
from flytekit import HashMethod, dynamic, map_task, task, workflow

cached = flytekit.Cache(version="1", ignored_inputs=("note",))


def length(text: str) -> str:
    """What identifies a text here: texts of one length count as equal."""
    return str(len(text))


@task(cache=cached)
def square(n: int, note: str = "") -> int:
    """Once for each n, whatever the note."""
    print(f"computing the square of {n}")
    return n * n


@task(cache=True, cache_version="1")
def half(n: int) -> int:
    """Each item of the map task below is cached by itself."""
    print(f"computing the half of {n}")
    return n // 2


@task(enable_deck=True)
def name(n: int) -> Annotated[str, HashMethod(length)]:
    """Runs each time; its output counts by its hash."""
    print(f"naming {n}")
    return f"number {n}"


@task(cache=True, cache_version="1", cache_serialize=True)
def shout(text: str) -> str:
    """Of executions that begin together, one computes."""
    print("computing a shout")
    return text.upper()


@dynamic(cache=True, cache_version="1")
def add(n: int) -> int:
    """The outputs of a dynamic task are those of its whole workflow."""
    print("computing what to add")
    return square(n=n + 1)


@workflow
def caching(n: int = 3) -> tuple[int, list[int], str, int]:
    """Uses each of them."""
    squared = square(n=n, note="first")
    return squared, map_task(half)(n=[10, 20, 30]), shout(text=name(n=n)), add(n=n)
