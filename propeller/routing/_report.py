"""The status of a RoutingTable: what came of its spec, and how its clusters are.

Guarantees
    Pure. Reasons of clusters are texts of their servers: bounded, in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from propeller.routing._decide import States
from propeller.routing._problems import InvalidTable
from propeller.routing._subject import NOTHING_KNOWN
from propeller.routing._table import Table
from propeller.text import bounded, one_line

MAX_MESSAGE, MAX_REASON = 2_000, 200
"""Characters of the condition's message, and of a cluster's reason."""


class Verdict(msgspec.Struct, frozen=True):
    """What came of a RoutingTable. `refused` is why its present spec is not in force, None if it is; `generation` and
    `spec` are those of what is in force of it, `table` is None if nothing is.
    """

    table: Table | None
    generation: int = 0
    spec: Any = None
    refused: InvalidTable | None = None


def status_of(verdict: Verdict, generation: int, states: States, before: Any, now: str) -> dict[str, Any]:
    """The whole status; `before` is what there is, as it may be, `now` in RFC 3339."""
    table = verdict.table
    clusters = [] if table is None else [_cluster(table, name, states) for name in table.clusters]
    return {
        "observedGeneration": generation,
        "conditions": _conditions(verdict, generation, before, now),
        "healthy": f"{sum(one['healthy'] for one in clusters)}/{len(clusters)}",
        "executions": sum(one["executions"] for one in clusters),
        "rules": 0 if table is None else len(table.rules),
        "clusters": clusters,
        "accepted": None if table is None else {"generation": verdict.generation, "spec": verdict.spec},
    }


def _cluster(table: Table, name: str, states: States) -> dict[str, Any]:
    state = states.get(name, NOTHING_KNOWN)
    return {
        "name": name,
        "state": str(table.clusters[name].state.value),
        "healthy": state.healthy,
        "reason": one_line(bounded(state.reason, MAX_REASON)),
        "executions": state.executions,
        "pods": state.pods,
    }


def _conditions(verdict: Verdict, generation: int, before: Any, now: str) -> list[dict[str, Any]]:
    status, reason, message = _words(verdict, generation)
    earlier = _earlier(before)
    return [
        {
            "type": "Accepted",
            "status": status,
            "reason": reason,
            "message": one_line(bounded(message, MAX_MESSAGE)),
            "observedGeneration": generation,
            "lastTransitionTime": earlier.get("lastTransitionTime", now) if earlier.get("status") == status else now,
        }
    ]


def _earlier(status: Any) -> Mapping[str, Any]:
    """The condition that a status has, as it may be."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    first = conditions[0] if isinstance(conditions, list) and conditions else None
    return first if isinstance(first, dict) else {}


def _words(verdict: Verdict, generation: int) -> tuple[str, str, str]:
    """Status, reason and message."""
    if verdict.refused is None:
        return "True", "InForce", f"generation {generation} is in force"
    still = "nothing of it is in force" if verdict.table is None else f"generation {verdict.generation} stays in force"
    problems = "; ".join(map(str, verdict.refused.problems))
    return "False", "Invalid", f"{problems}; {still}"


class _Written(msgspec.Struct):
    generation: int
    spec: Any


def accepted_before(status: Any) -> tuple[int, Any] | None:
    """Generation and spec of what a controller has accepted before, as it wrote into a status; None for nothing."""
    try:
        found = msgspec.convert(status["accepted"], type=_Written)
    except (KeyError, TypeError, msgspec.ValidationError):
        return None
    return found.generation, found.spec
