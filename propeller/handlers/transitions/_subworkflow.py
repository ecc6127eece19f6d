"""Workflow nodes: the graph of a sub-workflow runs inside of the node, a launch plan as an execution of its own."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORT, end_with_child
from propeller.handlers.transitions._task import task_transition
from propeller.handlers.transitions._time_limits import timed
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
    """Move on a launch plan's node as a task's, whose resource is the execution; any other as a sub-workflow's."""
    if node.spec.launch_plan is not None:
        return task_transition(node, state, event, now)
    return _subworkflow_in_time(node, state, event, now)


def _subworkflow_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Store the inputs of the sub-workflow once, then run its graph inside the node."""
    match event:
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


_subworkflow_in_time = timed(_subworkflow_transition)
