"""A map task of many items: what an item costs beside a plain task, and what the controller keeps in memory."""

from __future__ import annotations

from collections.abc import Iterator

import uvloop

from loadtest._line import Line
from loadtest._scale_fan_out import fan_out, map_over
from loadtest._scale_target import target_of

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
    with target_of(server) as target:
        plain, lines = uvloop.run(fan_out(target, controller, nodes))
    yield from lines
    with target_of(server) as target:
        item, lines = uvloop.run(map_over(target, controller, items, at_once))
    yield from lines
    yield Line(
        name=f"map of {items}: controller CPU for an item, relative to a node of the fan-out",
        value=item / plain,
        unit="x",
        budget=DEARER,
    )
