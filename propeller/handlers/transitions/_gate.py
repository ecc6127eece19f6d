"""Gate nodes, which this version does not run."""

from __future__ import annotations

from propeller.handlers.transitions._common import failed, not_supported
from propeller.workflow import NodeEvent, NodeView, Start, State, Step


def unsupported_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    """A node kind that this version does not run: it fails at once, by name."""
    return failed(not_supported(node, f"{node.spec.kind} nodes")) if isinstance(event, Start) else None
