"""The end node: its bindings are the outputs of its graph."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, SUCCEEDED, failed
from propeller.workflow import (
    Cancel,
    EffectFailed,
    Fact,
    Gathering,
    NodeView,
    OutputsWritten,
    Resume,
    Start,
    State,
    Step,
    WriteOutputs,
)

_NO_BINDINGS = frozenset({b"", b"null", b"[]"})


def step_end(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """The end node: its bindings are the workflow's outputs."""
    match fact:
        case Start() if bytes(node.spec.input_bindings) in _NO_BINDINGS:
            return SUCCEEDED
        case Start() | Resume():
            return Step(state=Gathering(), effects=(WriteOutputs(node.number),))
        case OutputsWritten():
            return SUCCEEDED
        case EffectFailed(failure=failure):
            return failed(failure)
        case Cancel():
            return ABORTED
    return None
