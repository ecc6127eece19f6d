"""A branch node: one case is chosen by its inputs, the others are skipped."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, end_with_child
from propeller.workflow import (
    Cancel,
    ChildEnded,
    Choose,
    Chosen,
    EffectFailed,
    Fact,
    Inside,
    NodeView,
    Preparing,
    Resume,
    Start,
    State,
    Step,
)


def step_branch(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A branch: one case is chosen by its inputs, the others are skipped; it ends as its case ends."""
    match fact:
        case Start():
            return Step(state=Preparing(), effects=(Choose(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Step(state=state, effects=(Choose(node.number),))
        case Chosen(case=case) if isinstance(state, Preparing):
            return Step(state=Inside(-1), choose=case)
        case ChildEnded(failure=failure) | EffectFailed(failure=failure):
            return end_with_child(failure)
        case Cancel():
            return ABORTED
    return None
