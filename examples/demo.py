"""One workflow with every kind of node: tasks, a container, a sub-workflow, a branch, a map task, a dynamic task, and a
node for failures that stays idle when all goes well.

propeller run examples/demo.py demo --n 6
"""

from __future__ import annotations

from flytekit import ContainerTask, conditional, dynamic, kwtypes, map_task, task, workflow

greet = ContainerTask(
    name="greet",
    image="python:3.11-slim",
    inputs=kwtypes(n=int),
    command=["python3", "-c", "import sys; print('sorting', sys.argv[1], 'numbers')", "{{.inputs.n}}"],
)


@task
def numbers(n: int) -> list[int]:
    """1..n, shuffled in the same way each time."""
    return sorted(range(1, n + 1), key=lambda i: (i * 7919) % 101)


@task
def square(x: int) -> int:
    return x * x


@task
def total(xs: list[int]) -> int:
    return sum(xs)


@task
def halve(x: int) -> int:
    return x // 2


@task
def keep(x: int) -> int:
    return x


@task
def merge(left: list[int], right: list[int]) -> list[int]:
    return sorted(left + right)


@task
def split(xs: list[int]) -> tuple[list[int], list[int]]:
    return xs[: len(xs) // 2], xs[len(xs) // 2 :]


@dynamic
def merge_sort(xs: list[int]) -> list[int]:
    """Sort by sorting the halves, each in tasks of its own, as deep as the list demands."""
    if len(xs) < 3:
        return sorted(xs)
    left, right = split(xs=xs)
    return merge(left=merge_sort(xs=left), right=merge_sort(xs=right))


@task
def clean_up(n: int) -> None:
    """Runs only if something fails."""
    print("cleaning up after", n)


@workflow
def sum_of_squares(xs: list[int]) -> int:
    """A workflow inside the workflow, with a map task in it."""
    return total(xs=map_task(square)(x=xs))


@workflow(on_failure=clean_up)
def demo(n: int = 4) -> tuple[list[int], int, int]:
    """Sorted numbers, the sum of their squares, and that sum halved if it is large."""
    greet(n=n)
    xs = numbers(n=n)
    squares = sum_of_squares(xs=xs)
    smaller = conditional("large").if_(squares > 50).then(halve(x=squares)).else_().then(keep(x=squares))
    return merge_sort(xs=xs), squares, smaller
