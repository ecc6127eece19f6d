"""Gate nodes, which this version does not run."""

from __future__ import annotations

from propeller.handlers.transitions._common import failed, not_supported
from propeller.workflow import Fact, NodeView, Start, State, Step


def step_unsupported(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A node kind that this version does not run: it fails at once, by name."""
    return failed(not_supported(node, f"{node.spec.kind} nodes")) if isinstance(fact, Start) else None
