"""A sub-workflow node: its graph runs inside."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, end_with_child, failed, not_supported
from propeller.workflow import (
    Cancel,
    EffectFailed,
    InputsWritten,
    NodeEvent,
    NodeView,
    Opening,
    Preparing,
    Resume,
    RunningSubgraph,
    Start,
    State,
    Step,
    SubgraphEnded,
    WriteInputs,
)


def workflow_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    """A sub-workflow: its inputs are stored once, then its graph runs inside."""
    match event:
        case Start() if node.spec.workflow is None or not node.spec.workflow.sub_workflow_ref:
            return failed(not_supported(node, "launch plan nodes"))
        case Start():
            return Step(state=Preparing(), effects=(WriteInputs(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Step(state=state, effects=(WriteInputs(node.number),))
        case InputsWritten() if isinstance(state, Preparing):
            assert node.spec.workflow is not None
            graph = node.graph.plan.sub_workflows[node.spec.workflow.sub_workflow_ref or ""]
            attempt = node.execution.attempts[node.number]
            return Step(state=RunningSubgraph(node.next_frame, attempt), open=Opening(graph, attempt))
        case SubgraphEnded(failure=failure) | EffectFailed(failure=failure):
            return end_with_child(failure)
        case Cancel():
            return ABORTED
    return None
