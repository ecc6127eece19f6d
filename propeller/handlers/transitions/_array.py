"""An array node: a map over the items of its list inputs. Each item is a task, or the execution of a launch plan."""

from __future__ import annotations

import msgspec

from propeller.handlers.transitions._common import ABORT, SUCCEED, not_supported
from propeller.workflow import (
    Cancel,
    ChildEnded,
    Continue,
    EffectFailed,
    Fail,
    Failure,
    GatherOutputs,
    InputsWritten,
    ItemsGraph,
    NodeEvent,
    NodeKind,
    NodeSpec,
    NodeView,
    OutputsWritten,
    Preparing,
    Resume,
    RunningSubtasks,
    Start,
    StartSubtask,
    StartSubtasks,
    State,
    Stay,
    Transition,
    WriteInputs,
    WritingOutputs,
)


def array_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Run one item for each element of the list inputs, a bounded number at a time; enough of them must succeed."""
    assert node.spec.array is not None
    match event:
        case Start() if not node.spec.array.sub_node_spec.has_attempts:
            return not_supported(node, f"maps over {_kind_of(node.spec.array.sub_node_spec)}")
        case Start():
            return Continue(Preparing(), effects=(WriteInputs(node.number),))
        case Resume():
            return _resume(node, state)
        case InputsWritten(size=size) if isinstance(state, Preparing):
            return _start_items(node, size)
        case ChildEnded(failure=failure) if isinstance(state, RunningSubtasks):
            return _item_ended(node, state, failure)
        case OutputsWritten():
            return SUCCEED
        case EffectFailed(failure=failure):
            return Fail(failure)
        case Cancel():
            return ABORT
    return None


def _kind_of(item: NodeSpec) -> str:
    return "sub-workflows" if item.kind is NodeKind.WORKFLOW else f"{item.kind} nodes"


def _resume(node: NodeView, state: State | None) -> Transition | None:
    if isinstance(state, Preparing):
        return Stay(effects=(WriteInputs(node.number),))
    if isinstance(state, WritingOutputs):
        return Stay(effects=(GatherOutputs(node.number),))
    return None


def _start_items(node: NodeView, size: int) -> Transition:
    array = node.spec.array
    assert array is not None
    if size and (needed := array.needed(size)) > size:
        reason = f"{node.log_name}: {needed} items have to succeed, and there are {size}"
        return Fail(Failure("BadTaskFormat", reason, node=node.execution.unique_id(node.number)))
    frame, attempt = node.next_frame, node.execution.attempts[node.number]
    items = ItemsGraph(node.graph.plan, node.spec, size)
    if not size:
        return StartSubtasks(WritingOutputs(frame), items, attempt, effects=(GatherOutputs(node.number),))
    first = min(size, array.parallelism or size)
    return StartSubtasks(RunningSubtasks(frame, size, first), items, attempt)


def _item_ended(node: NodeView, state: RunningSubtasks, failure: Failure | None) -> Transition:
    succeeded, failures = state.succeeded + (failure is None), state.failed + (failure is not None)
    first_failure = state.failure or failure
    assert node.spec.array is not None
    needed = node.spec.array.needed(state.size)
    has_failed, all_ended = state.size - failures < needed, succeeded + failures == state.size
    if has_failed and (all_ended or not node.spec.array.run_all_sub_nodes):
        assert first_failure is not None
        return Fail(_too_few(first_failure, state.size, failures, needed), cancel_inside=True)
    if all_ended:
        return Continue(WritingOutputs(state.frame), effects=(GatherOutputs(node.number),))
    more = int(state.next < state.size)
    following = RunningSubtasks(state.frame, state.size, state.next + more, succeeded, failures, first_failure)
    return StartSubtask(following, state.next) if more else Continue(following)


def _too_few(first: Failure, size: int, failures: int, needed: int) -> Failure:
    """The failure of the map task: that of its first item, with the numbers if not all items had to succeed."""
    if needed == size:
        return first
    said = f"{failures} of {size} items have failed, and {needed} have to succeed; the first of them: {first.message}"
    return msgspec.structs.replace(first, message=said)
