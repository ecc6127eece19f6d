"""Say of each gate that waits, once, how it is answered, if the progress of a run does not show it."""

from __future__ import annotations

from propeller.cli._progress import Progress
from propeller.status import said_of, wait_of
from propeller.text import one_line
from propeller.workflow import SLEEP, AtGate, Execution, NodeKind


class GateNotes:
    """`shown` is the key of the execution whose nodes are shown anyway, and in full; "" if none is."""

    def __init__(self, progress: Progress, shown: str) -> None:
        self._progress = progress
        self._shown = shown
        self._told: set[tuple[str, str]] = set()

    def changed(self, execution: Execution) -> None:
        """Called when an execution has changed; costs a look-up if its workflow has no gates."""
        if execution.key == self._shown or not execution.cached(_has_gates):
            return
        for node, state in execution.states.items():
            unique_id = execution.unique_id(node)
            told = execution.key, unique_id
            gate = execution.view(node).spec.gate
            if not isinstance(state, AtGate) or told in self._told or gate is None or gate.kind == SLEEP:
                continue
            self._told.add(told)
            if (wait := wait_of(execution, node)) is not None:
                self._progress.say(one_line(f"{unique_id} of {execution.info.name} {said_of(wait)}"))


def _has_gates(execution: Execution) -> bool:
    plan = execution.plan
    nodes = (node for graph in (plan.root, *plan.sub_workflows.values()) for node in graph.nodes)
    return any(node.kind is NodeKind.GATE for node in nodes)
