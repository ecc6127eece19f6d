"""The placements of an execution in its status: in the snapshot, and readable in the head.

Guarantees
    `placements_of` accepts what `check_placed` has passed, and gives what was `taken`. A status without placements is
    that of an execution in one cluster.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from propeller.errors import CorruptBlob
from propeller.text import bounded, one_line
from propeller.workflow import Execution, Placements

MAX_NAME = 253
"""Characters of a cluster's name: those of a DNS name, as Kubernetes' names of objects have."""

MAX_REASON = 1024

MAX_CLUSTERS = 1000

MAX_ELSEWHERE = 250_000
"""Attempts outside of the execution's cluster: more than a map of 100,000 items has that all moved twice."""

_ELSEWHERE = struct.Struct("<IBH")

MAX_NAMED = 10
"""Attempts outside of the execution's cluster that the head names."""


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """The record. `home` is None if no cluster is chosen yet. A record has few fields, whatever a stranger writes."""

    home: str | None
    reason: str = ""
    clusters: str = ""
    """The names of the others, one a line."""
    elsewhere: bytes = b""
    """Of each attempt that is not at home: its node, its number, and the line of its cluster's name (`_ELSEWHERE`)."""
    first_attempt: int = 0


def taken(execution: Execution) -> Placed | None:
    """Return the record of an execution's placements, None if it has none. Nodes that have ended are left out: what is
    left of their attempts is found by its labels.
    """
    placements = execution.placements
    if placements is None:
        return None
    active = {one: name for one, name in placements.elsewhere.items() if one[0] in execution.states}
    clusters = tuple(dict.fromkeys(active.values()))
    index = {name: number for number, name in enumerate(clusters)}
    packed = (_ELSEWHERE.pack(node, attempt, index[name]) for (node, attempt), name in active.items())
    reason = bounded(placements.reason, MAX_REASON)
    return Placed(placements.home, reason, "\n".join(clusters), b"".join(packed), placements.first_attempt)


def placements_of(placed: Placed | None) -> Placements | None:
    """Return the placements of a record that `check_placed` has passed."""
    if placed is None:
        return None
    clusters = placed.clusters.split("\n")
    elsewhere = {(node, number): clusters[line] for node, number, line in _ELSEWHERE.iter_unpack(placed.elsewhere)}
    return Placements(placed.home, placed.reason, elsewhere, placed.first_attempt)


def check_placed(placed: Placed | None, nodes: int, most_attempts: int) -> None:
    """Raises CorruptBlob for a record that no execution of so many nodes has."""
    if placed is None:
        return
    sound = (
        len(placed.clusters) <= MAX_CLUSTERS * (MAX_NAME + 1)
        and _is_name(placed.home or "")
        and len(placed.reason) <= MAX_REASON
        and 0 <= placed.first_attempt <= most_attempts
        and len(placed.elsewhere) % _ELSEWHERE.size == 0
        and len(placed.elsewhere) <= MAX_ELSEWHERE * _ELSEWHERE.size
    )
    if sound:
        clusters = placed.clusters.split("\n")
        sound = all(map(_is_name, clusters)) and all(
            node < nodes and number <= most_attempts and line < len(clusters)
            for node, number, line in _ELSEWHERE.iter_unpack(placed.elsewhere)
        )
    if not sound:
        raise CorruptBlob("the status does not decode: its placements are none of this execution's")


def _is_name(text: str) -> bool:
    return len(text) <= MAX_NAME and text.isprintable()


def placement_for_people(execution: Execution) -> dict[str, Any]:
    """The part of the head that says where an execution runs, and why; empty if there is one cluster."""
    placements = execution.placements
    if placements is None:
        return {}
    return {
        "cluster": one_line(placements.home) if placements.home is not None else None,
        "placement": {
            "reason": one_line(placements.reason) or None,
            "clusters": sorted(map(one_line, placements.names())),
            "elsewhere": [
                {"node": one_line(execution.unique_id(node)), "attempt": attempt, "cluster": one_line(cluster)}
                for (node, attempt), cluster in [*placements.elsewhere.items()][-MAX_NAMED:]
            ]
            or None,
        },
    }
