"""A sub-workflow node: its graph runs inside."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORT, end_with_child, not_supported
from propeller.workflow import (
    Cancel,
    Continue,
    EffectFailed,
    InputsWritten,
    NodeEvent,
    NodeView,
    Preparing,
    Resume,
    RunningSubgraph,
    Start,
    StartSubgraph,
    State,
    Stay,
    SubgraphEnded,
    Transition,
    WriteInputs,
)


def workflow_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Store the inputs of the sub-workflow once, then run its graph inside the node."""
    match event:
        case Start() if node.spec.workflow is None or not node.spec.workflow.sub_workflow_ref:
            return not_supported(node, "launch plan nodes")
        case Start():
            return Continue(Preparing(), effects=(WriteInputs(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Stay(effects=(WriteInputs(node.number),))
        case InputsWritten() if isinstance(state, Preparing):
            assert node.spec.workflow is not None
            graph = node.graph.plan.sub_workflows[node.spec.workflow.sub_workflow_ref or ""]
            return StartSubgraph(RunningSubgraph(node.next_frame, node.execution.attempts[node.number]), graph)
        case SubgraphEnded(failure=failure) | EffectFailed(failure=failure):
            return end_with_child(failure)
        case Cancel():
            return ABORT
    return None
