"""Gate nodes, which this version does not run."""

from __future__ import annotations

from propeller.handlers.transitions._common import not_supported
from propeller.workflow import NodeEvent, NodeView, Start, State, Transition


def unsupported_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Fail the node at its start, and name its kind."""
    return not_supported(node, f"{node.spec.kind} nodes") if isinstance(event, Start) else None
