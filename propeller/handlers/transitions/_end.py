"""The end node: its bindings are the outputs of its graph."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, SUCCEEDED, failed
from propeller.workflow import (
    Cancel,
    EffectFailed,
    NodeEvent,
    NodeView,
    OutputsWritten,
    Resume,
    Start,
    State,
    Step,
    WriteOutputs,
    WritingOutputs,
)

_NO_BINDINGS = frozenset({b"", b"null", b"[]"})


def end_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    """The end node: its bindings are the workflow's outputs."""
    match event:
        case Start() if bytes(node.spec.input_bindings) in _NO_BINDINGS:
            return SUCCEEDED
        case Start() | Resume():
            return Step(state=WritingOutputs(), effects=(WriteOutputs(node.number),))
        case OutputsWritten():
            return SUCCEEDED
        case EffectFailed(failure=failure):
            return failed(failure)
        case Cancel():
            return ABORTED
    return None
