"""Large workflows and many at once: does a task cost the same in a workflow of 10 nodes and of 50,000, among 100
workflows and among 10,000?

Each measurement has a kube-apiserver of its own, so that none pays for the objects of the one before. The controller is
as in `loadtest._scenarios`. LOADTEST_SCALE multiplies the sizes; LOADTEST_FANOUTS, LOADTEST_EMBEDDED_FANOUTS and
LOADTEST_CONCURRENT hold others, with commas between: `LOADTEST_FANOUTS=10,5000 LOADTEST_CONCURRENT=`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from loadtest import _floor
from loadtest._line import Line
from loadtest._scale_concurrent import concurrent
from loadtest._scale_fan_out import fan_out
from loadtest._scale_target import Target, embedded, real
from loadtest._scenarios import SCALE
from propeller.testing import run_kube_apiserver

Measured = Callable[[Target, int], Coroutine[Any, Any, tuple[float, list[Line]]]]
"""A load of a size; returns the controller's CPU for a task, in seconds, and the table."""

FANOUTS = (10, 500, 5_000, 50_000)
EMBEDDED_FANOUTS = (5_000, 50_000)
CONCURRENT = (100, 2_000, 10_000)
FLAT = 1.3
"""How much more a task may cost in the largest than in the smallest (the issue's figure)."""


def measure() -> Iterator[Line]:
    yield from _floor.measure()
    name = "fan-out of {}: controller CPU for a node, relative to the smallest"
    yield from _side_by_side(fan_out, _sizes("LOADTEST_FANOUTS", FANOUTS), name)
    for nodes in _sizes("LOADTEST_EMBEDDED_FANOUTS", EMBEDDED_FANOUTS):
        with tempfile.TemporaryDirectory() as directory, embedded(Path(directory)) as target:
            yield from uvloop.run(fan_out(target, nodes))[1]
    name = "{} at once: controller CPU for a task, relative to the fewest"
    yield from _side_by_side(concurrent, _sizes("LOADTEST_CONCURRENT", CONCURRENT), name)


def _side_by_side(measured: Measured, sizes: list[int], name: str) -> Iterator[Line]:
    """Each size on a server of its own, with its cost relative to the first one's under `name`."""
    smallest = 0.0
    for size in sizes:
        with _real() as target:
            cost, lines = uvloop.run(measured(target, size))
        yield from lines
        smallest = smallest or cost
        yield _relative(name.format(size), cost / smallest)


def _sizes(variable: str, default: tuple[int, ...]) -> list[int]:
    if (text := os.environ.get(variable)) is not None:
        return [int(size) for size in text.split(",") if size]
    return [max(1, round(size * SCALE)) for size in default]


def _relative(name: str, value: float) -> Line:
    return Line(name=name, value=value, unit="x", budget=FLAT)


@contextmanager
def _real() -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as directory, run_kube_apiserver(Path(directory)) as server:
        yield real(server, Path(directory))
