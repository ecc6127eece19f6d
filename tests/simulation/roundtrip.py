"""Whether what a status keeps of an execution is all that there is to keep: checked after rounds."""

from __future__ import annotations

from typing import Any

from propeller.status import rebuild, take
from propeller.workflow import Execution, Graph, NodePhase, NodeView
from tests.simulation.event_log import EventLog


class Roundtrip:
    """An observer of a controller."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def check(self, execution: Execution) -> None:
        """Rebuild the execution from its snapshot and compare what is derived."""
        again = _rebuilt(execution)
        for name, mine, theirs in (
            ("unmet", _unmet(execution), _unmet(again)),
            ("active", [frame.active for frame in execution.frames], [frame.active for frame in again.frames]),
            ("slots", execution.slots.used, again.slots.used),
            ("states", execution.states, again.states),
            ("phases", execution.phases, again.phases),
        ):
            if mine != theirs and not execution.phase.ended:
                self._event_log.violation(f"{execution.key} has {name} {mine}, and after a rebuild {theirs}")


def _unmet(execution: Execution) -> dict[int, int]:
    """Of nodes that may still start; whether a failure node may is found out anew."""
    failure_nodes = {frame.base + (frame.graph.failure or -1) for frame in execution.frames}
    return {
        node: count
        for node, count in enumerate(execution.unmet)
        if execution.phases[node] == NodePhase.NOT_STARTED and node not in failure_nodes
    }


def _rebuilt(execution: Execution) -> Execution:
    async def graph_of(node: NodeView, attempt: int) -> Graph:
        return next(
            frame.graph for frame in execution.frames if frame.parent == node.number and frame.parent_attempt == attempt
        )

    coroutine: Any = rebuild(execution.info, execution.plan, take(execution), graph_of)
    try:
        coroutine.send(None)
    except StopIteration as end:
        found: Execution = end.value
        return found
    raise AssertionError("a rebuild waited for something")
