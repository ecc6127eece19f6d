"""An array node: a map over the items of its list inputs. Each item is a task, or the execution of a launch plan."""

from __future__ import annotations

import re
from itertools import islice

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
    NodePhase,
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

MAX_RANGES = 20
"""Of numbers of failed items, named in a message."""

_FAILED = re.compile(re.escape(bytes([NodePhase.FAILED])) + b"+")


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
        case ChildEnded(child=item, failure=failure) if isinstance(state, RunningSubtasks):
            return _item_ended(node, state, item, failure)
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


def _item_ended(node: NodeView, state: RunningSubtasks, item: int, failure: Failure | None) -> Transition:
    succeeded, failed = state.succeeded + (failure is None), state.failed + (failure is not None)
    if failure is not None and state.failure is None:
        state = msgspec.structs.replace(state, failure=failure, first_failed=item)
    assert node.spec.array is not None
    needed = node.spec.array.needed(state.size)
    has_failed, all_ended = state.size - failed < needed, succeeded + failed == state.size
    if has_failed and (all_ended or not node.spec.array.run_all_sub_nodes):
        return Fail(_too_few(node, state, needed), cancel_inside=True)
    if all_ended:
        return Continue(WritingOutputs(state.frame), effects=(GatherOutputs(node.number),))
    more = int(state.next < state.size)
    following = RunningSubtasks(
        state.frame, state.size, state.next + more, succeeded, failed, state.failure, state.first_failed
    )
    return StartSubtask(following, state.next) if more else Continue(following)


def _too_few(node: NodeView, state: RunningSubtasks, needed: int) -> Failure:
    """The failure of the map task: that of the item that failed first, with the numbers of all that have failed."""
    assert state.failure is not None
    base, size = node.execution.frames[state.frame].base, state.size
    phases = bytes(node.execution.phases[base : base + size])
    failed, first = phases.count(NodePhase.FAILED), f"item {state.first_failed}"
    if state.first_failed < 0:  # the status of an earlier version does not say which
        first = "the first of them"
    if failed == 1 and needed == size:
        said = f"item {_numbers(phases)} of {size} failed: "
    else:
        wanted = f", and {needed} have to succeed" if needed < size else ""
        said = f"{failed} of {size} items failed ({_numbers(phases)}){wanted}; {first}: "
    return msgspec.structs.replace(state.failure, message=said + state.failure.message)


def _numbers(phases: bytes) -> str:
    """The numbers of items that have failed, with runs of them as ranges: `1, 3-4`."""
    runs = [run.span() for run in islice(_FAILED.finditer(phases), MAX_RANGES + 1)]
    named = [f"{begin}" if end == begin + 1 else f"{begin}-{end - 1}" for begin, end in runs[:MAX_RANGES]]
    return ", ".join([*named, "..."] if len(runs) > MAX_RANGES else named)
