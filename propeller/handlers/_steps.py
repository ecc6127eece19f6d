"""The pure side of each node kind that needs no pod of its own: sub-workflow, branch, map task, end node.

Each is a step: `(node, state, fact, now) -> Step`. They share one rule: a fact that does not fit the state changes
nothing.
"""

from __future__ import annotations

from propeller.errors import ErrorKind
from propeller.workflow import (
    Cancel,
    ChildEnded,
    Choose,
    Chosen,
    EffectFailed,
    Fact,
    Failure,
    FrameEnded,
    Gathering,
    GatherOutputs,
    InputsWritten,
    Inside,
    ItemsGraph,
    Mapping,
    NodeKind,
    NodePhase,
    NodeView,
    Opening,
    OutputsWritten,
    Preparing,
    Resume,
    Start,
    State,
    Step,
    WriteInputs,
    WriteOutputs,
)

SUCCEEDED = Step(phase=NodePhase.SUCCEEDED)
ABORTED = Step(phase=NodePhase.ABORTED)

_NO_BINDINGS = frozenset({b"", b"null", b"[]"})


def failed(failure: Failure) -> Step:
    return Step(phase=NodePhase.FAILED, failure=failure)


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


def step_workflow(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A sub-workflow: its inputs are stored once, then its graph runs inside."""
    match fact:
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
            return Step(state=Inside(node.next_frame, attempt), open=Opening(graph, attempt))
        case FrameEnded(failure=None):
            return SUCCEEDED
        case FrameEnded(failure=failure) | EffectFailed(failure=failure):
            assert failure is not None
            return failed(failure)
        case Cancel():
            return ABORTED
    return None


def step_branch(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A branch: one case is chosen by its inputs, the others are skipped; it ends as its case ends."""
    match fact:
        case Start():
            return Step(state=Preparing(), effects=(Choose(node.number),))
        case Resume() if isinstance(state, Preparing):
            return Step(state=state, effects=(Choose(node.number),))
        case Chosen(case=case) if isinstance(state, Preparing):
            return Step(state=Inside(-1), choose=case)
        case ChildEnded(failure=None):
            return SUCCEEDED
        case ChildEnded(failure=failure) | EffectFailed(failure=failure):
            assert failure is not None
            return failed(failure)
        case Cancel():
            return ABORTED
    return None


def step_array(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A map task: as many items as its list inputs are long, a bounded number at once, enough of which must succeed."""
    assert node.spec.array is not None
    match fact:
        case Start() if node.spec.array.sub_node_spec.kind is not NodeKind.TASK:
            return failed(not_supported(node, f"map tasks over {node.spec.array.sub_node_spec.kind} nodes"))
        case Start():
            return Step(state=Preparing(), effects=(WriteInputs(node.number),))
        case Resume():
            return _resume_array(node, state)
        case InputsWritten(size=size) if isinstance(state, Preparing):
            return _begin_items(node, size)
        case ChildEnded(failure=failure) if isinstance(state, Mapping):
            return _item_ended(node, state, failure)
        case OutputsWritten():
            return SUCCEEDED
        case EffectFailed(failure=failure):
            return failed(failure)
        case Cancel():
            return ABORTED
    return None


def step_unsupported(node: NodeView, state: State | None, fact: Fact, now: float) -> Step | None:
    """A node kind that this version does not run: it fails at once, by name."""
    return failed(not_supported(node, f"{node.spec.kind} nodes")) if isinstance(fact, Start) else None


def not_supported(node: NodeView, what: str) -> Failure:
    return Failure(
        "NotSupported",
        f"{node.where}: {what} are not supported yet; see docs/differences.md",
        ErrorKind.USER,
        node=node.execution.unique_id(node.number),
    )


def _resume_array(node: NodeView, state: State | None) -> Step | None:
    if isinstance(state, Preparing):
        return Step(state=state, effects=(WriteInputs(node.number),))
    if isinstance(state, Gathering):
        return Step(state=state, effects=(GatherOutputs(node.number),))
    return None


def _begin_items(node: NodeView, size: int) -> Step:
    array = node.spec.array
    assert array is not None
    frame = node.next_frame
    opening = Opening(ItemsGraph(node.graph.plan, node.spec, size), node.execution.attempts[node.number], items=True)
    if size and (needed := array.needed(size)) > size:
        reason = f"{node.where}: {needed} items have to succeed, and there are {size}"
        return failed(Failure("BadTaskFormat", reason, node=node.execution.unique_id(node.number)))
    if not size:
        return Step(state=Gathering(frame), open=opening, effects=(GatherOutputs(node.number),))
    at_once = min(size, array.parallelism or size)
    return Step(state=Mapping(frame, size, at_once), open=opening, start=(frame, 0, at_once))


def _item_ended(node: NodeView, state: Mapping, failure: Failure | None) -> Step:
    succeeded, failures = state.succeeded + (failure is None), state.failed + (failure is not None)
    first_failure = state.failure or failure
    assert node.spec.array is not None
    needed = node.spec.array.needed(state.size)
    if state.size - failures < needed:
        assert first_failure is not None
        return Step(phase=NodePhase.FAILED, failure=first_failure, cancel=True)
    if succeeded + failures == state.size:
        return Step(state=Gathering(state.frame), effects=(GatherOutputs(node.number),))
    more = int(state.next < state.size)
    following = Mapping(state.frame, state.size, state.next + more, succeeded, failures, first_failure)
    return Step(state=following, start=(state.frame, state.next, state.next + 1) if more else None)
