"""A map task of many items: what an item costs beside a plain task, and what the controller keeps in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from loadtest._line import Line
from loadtest._scale_fan_out import fan_out, map_over
from loadtest._scale_target import Target, embedded, real
from propeller.testing import run_kube_apiserver

ITEMS = 100_000
"""The most that `storage.max_map_items` allows by default."""

PLAIN = 5_000
"""Nodes of the fan-out beside it: their cost is flat from a few hundred on."""

AT_ONCE = 5_000
"""Items that run at the same time: pods for which a cluster of some hundred nodes has room. Each that runs takes 2 KB
of memory for its pod alone, so that a map without a limit, on a server that takes them all, measures how slowly they
end.
"""

DEARER = 1.2
"""How much more an item may cost than a task by itself."""


def measure(*, scale: float, server: str, controller: str) -> Iterator[Line]:
    """`server` is embedded or real. Sizes are multiplied by `scale`."""
    items, nodes, at_once = (max(1, round(size * scale)) for size in (ITEMS, PLAIN, AT_ONCE))
    plain, lines = _on(server, lambda target: uvloop.run(fan_out(target, controller, nodes)))
    yield from lines
    item, lines = _on(server, lambda target: uvloop.run(map_over(target, controller, items, at_once)))
    yield from lines
    yield Line(
        name=f"map of {items}: controller CPU for an item, relative to a node of the fan-out",
        value=item / plain,
        unit="x",
        budget=DEARER,
    )


def _on(server: str, run: Callable[[Target], tuple[float, list[Line]]]) -> tuple[float, list[Line]]:
    """Run with a server of its own, so that none pays for the objects of the one before."""
    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        if server == "embedded":
            with embedded(directory) as target:
                return run(target)
        with run_kube_apiserver(directory) as started:
            return run(real(started, directory))
