"""A branch node: one case is chosen by its inputs, the others are skipped."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORT, end_with_child
from propeller.workflow import (
    BranchEvaluated,
    Cancel,
    ChildEnded,
    Continue,
    EffectFailed,
    EvaluateBranch,
    NodeEvent,
    NodeView,
    Preparing,
    Resume,
    SelectCase,
    Start,
    State,
    Stay,
    Transition,
)


def branch_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Evaluate the conditions, run the case that they choose, and end as that case ends."""
    match event:
        case Start():
            return Continue(Preparing(), effects=(EvaluateBranch(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Stay(effects=(EvaluateBranch(node.number),))
        case BranchEvaluated(case=case) if isinstance(state, Preparing):
            return SelectCase(case)
        case ChildEnded(failure=failure) | EffectFailed(failure=failure):
            return end_with_child(failure)
        case Cancel():
            return ABORT
    return None
