"""The end node: its bindings are the outputs of its graph."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORT, SUCCEED
from propeller.workflow import (
    Cancel,
    Continue,
    EffectFailed,
    Fail,
    NodeEvent,
    NodeView,
    OutputsWritten,
    Resume,
    Start,
    State,
    Stay,
    Transition,
    WriteOutputs,
    WritingOutputs,
)

_NO_BINDINGS = frozenset({b"", b"null", b"[]"})


def end_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Store the outputs of the workflow, if it has any."""
    match event:
        case Start() if bytes(node.spec.input_bindings) in _NO_BINDINGS:
            return SUCCEED
        case Start():
            return Continue(WritingOutputs(), effects=(WriteOutputs(node.number),))
        case Resume():
            return Stay(effects=(WriteOutputs(node.number),))
        case OutputsWritten():
            return SUCCEED
        case EffectFailed(failure=failure):
            return Fail(failure)
        case Cancel():
            return ABORT
    return None
