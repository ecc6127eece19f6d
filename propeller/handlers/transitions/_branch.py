"""A branch node: one case is chosen by its inputs, the others are skipped."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, end_with_child
from propeller.workflow import (
    RUNNING_CASE,
    BranchEvaluated,
    Cancel,
    ChildEnded,
    EffectFailed,
    EvaluateBranch,
    NodeEvent,
    NodeView,
    Preparing,
    Resume,
    Start,
    State,
    Step,
)


def branch_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    """A branch: one case is chosen by its inputs, the others are skipped; it ends as its case ends."""
    match event:
        case Start():
            return Step(state=Preparing(), effects=(EvaluateBranch(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Step(state=state, effects=(EvaluateBranch(node.number),))
        case BranchEvaluated(case=case) if isinstance(state, Preparing):
            return Step(state=RUNNING_CASE, choose=case)
        case ChildEnded(failure=failure) | EffectFailed(failure=failure):
            return end_with_child(failure)
        case Cancel():
            return ABORTED
    return None
