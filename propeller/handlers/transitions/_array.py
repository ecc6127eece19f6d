"""An array node: a map task over the items of its list inputs."""

from __future__ import annotations

from propeller.handlers.transitions._common import ABORTED, SUCCEEDED, failed, not_supported
from propeller.workflow import (
    Cancel,
    ChildEnded,
    EffectFailed,
    Failure,
    GatherOutputs,
    InputsWritten,
    ItemsGraph,
    NodeEvent,
    NodeKind,
    NodePhase,
    NodeView,
    Opening,
    OutputsWritten,
    Preparing,
    Resume,
    RunningSubtasks,
    Start,
    State,
    Step,
    WriteInputs,
    WritingOutputs,
)


def array_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    """A map task: as many items as its list inputs are long, a bounded number at once, enough of which must succeed."""
    assert node.spec.array is not None
    match event:
        case Start() if node.spec.array.sub_node_spec.kind is not NodeKind.TASK:
            return failed(not_supported(node, f"map tasks over {node.spec.array.sub_node_spec.kind} nodes"))
        case Start():
            return Step(state=Preparing(), effects=(WriteInputs(node.number),))
        case Resume():
            return _resume_array(node, state)
        case InputsWritten(size=size) if isinstance(state, Preparing):
            return _begin_items(node, size)
        case ChildEnded(failure=failure) if isinstance(state, RunningSubtasks):
            return _item_ended(node, state, failure)
        case OutputsWritten():
            return SUCCEEDED
        case EffectFailed(failure=failure):
            return failed(failure)
        case Cancel():
            return ABORTED
    return None


def _resume_array(node: NodeView, state: State | None) -> Step | None:
    if isinstance(state, Preparing):
        return Step(state=state, effects=(WriteInputs(node.number),))
    if isinstance(state, WritingOutputs):
        return Step(state=state, effects=(GatherOutputs(node.number),))
    return None


def _begin_items(node: NodeView, size: int) -> Step:
    array = node.spec.array
    assert array is not None
    frame = node.next_frame
    opening = Opening(ItemsGraph(node.graph.plan, node.spec, size), node.execution.attempts[node.number], items=True)
    if size and (needed := array.needed(size)) > size:
        reason = f"{node.log_name}: {needed} items have to succeed, and there are {size}"
        return failed(Failure("BadTaskFormat", reason, node=node.execution.unique_id(node.number)))
    if not size:
        return Step(state=WritingOutputs(frame), open=opening, effects=(GatherOutputs(node.number),))
    at_once = min(size, array.parallelism or size)
    return Step(state=RunningSubtasks(frame, size, at_once), open=opening, start=(frame, 0, at_once))


def _item_ended(node: NodeView, state: RunningSubtasks, failure: Failure | None) -> Step:
    succeeded, failures = state.succeeded + (failure is None), state.failed + (failure is not None)
    first_failure = state.failure or failure
    assert node.spec.array is not None
    needed = node.spec.array.needed(state.size)
    if state.size - failures < needed:
        assert first_failure is not None
        return Step(phase=NodePhase.FAILED, failure=first_failure, cancel=True)
    if succeeded + failures == state.size:
        return Step(state=WritingOutputs(state.frame), effects=(GatherOutputs(node.number),))
    more = int(state.next < state.size)
    following = RunningSubtasks(state.frame, state.size, state.next + more, succeeded, failures, first_failure)
    return Step(state=following, start=(state.frame, state.next, state.next + 1) if more else None)
