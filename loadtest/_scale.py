"""Large workflows and many at once: does a task cost the same in a workflow of 10 nodes and of 50,000, among 100
workflows and among 10,000?

Each measurement has a kube-apiserver of its own, so that none pays for the objects of the one before. The controller is
as in `loadtest._scenarios`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from loadtest import _floor
from loadtest._line import Line
from loadtest._scale_concurrent import many_at_once
from loadtest._scale_fan_out import fan_out
from loadtest._scale_target import Target, embedded, real
from propeller.testing import run_kube_apiserver

Measured = Callable[[Target, str, int], Coroutine[Any, Any, tuple[float, list[Line]]]]
"""A load of a size, by the controller of a command line; returns its CPU for a task, in seconds, and the table."""

FAN_OUTS = (10, 500, 5_000, 50_000)
EMBEDDED_FAN_OUTS = (5_000, 50_000)
CONCURRENT = (100, 2_000, 10_000)
FLAT = 1.3
"""How much more a task may cost in the largest than in the smallest (the issue's figure)."""


def measure(
    *,
    fan_outs: Sequence[int] | None,
    embedded_fan_outs: Sequence[int] | None,
    concurrent: Sequence[int] | None,
    scale: float,
    controller: str,
) -> Iterator[Line]:
    """Sizes that are None are the usual ones, multiplied by `scale`."""
    yield from _floor.measure()
    name = "fan-out of {}: controller CPU for a node, relative to the smallest"
    yield from _side_by_side(fan_out, _sizes(fan_outs, FAN_OUTS, scale), name, controller)
    for nodes in _sizes(embedded_fan_outs, EMBEDDED_FAN_OUTS, scale):
        with tempfile.TemporaryDirectory() as directory, embedded(Path(directory)) as target:
            yield from uvloop.run(fan_out(target, controller, nodes))[1]
    name = "{} at once: controller CPU for a task, relative to the fewest"
    yield from _side_by_side(many_at_once, _sizes(concurrent, CONCURRENT, scale), name, controller)


def _side_by_side(measured: Measured, sizes: Sequence[int], name: str, controller: str) -> Iterator[Line]:
    """Each size on a server of its own, with its cost relative to the first one's under `name`."""
    smallest = 0.0
    for size in sizes:
        with _real() as target:
            cost, lines = uvloop.run(measured(target, controller, size))
        yield from lines
        smallest = smallest or cost
        yield _relative(name.format(size), cost / smallest)


def _sizes(given: Sequence[int] | None, usual: Sequence[int], scale: float) -> Sequence[int]:
    return [max(1, round(size * scale)) for size in usual] if given is None else given


def _relative(name: str, value: float) -> Line:
    return Line(name=name, value=value, unit="x", budget=FLAT)


@contextmanager
def _real() -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as directory, run_kube_apiserver(Path(directory)) as server:
        yield real(server, Path(directory))
