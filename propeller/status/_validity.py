"""Check that no later reader of a snapshot can raise or wait forever: anyone who may write a status may write anything
into it.

Guarantees
    `check_snapshot` needs only the snapshot, `check_execution` the execution that was built from it. Both raise
    CorruptBlob, naming the invalid part. Neither costs more than the snapshot's own size.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from propeller.errors import CorruptBlob
from propeller.status._placed import check_placed
from propeller.workflow import (
    MAX_ID_BYTES,
    MAX_NODES,
    AtGate,
    AttemptState,
    BackingOff,
    CacheStatus,
    Collecting,
    Execution,
    Launching,
    NodeKind,
    NodePhase,
    OpeningGate,
    Preparing,
    Running,
    RunningSubgraph,
    RunningSubtasks,
    State,
    WorkflowPhase,
    WritingOutputs,
    caching_of,
)

if TYPE_CHECKING:
    from propeller.status._snapshot import FrameRecord, Snapshot

LAST_TIME = 253_402_300_799.0
"""Epoch seconds of the end of the year 9999, after which no time can be written."""

MAX_ATTEMPTS = 255

_PHASES = frozenset(NodePhase)
_CACHE_STATUSES = frozenset(CacheStatus)
_ENDED_OR_NOT_BEGUN = frozenset(_PHASES - {NodePhase.QUEUED, NodePhase.RUNNING})

_KINDS: dict[type[State], frozenset[NodeKind]] = {
    Launching: frozenset({NodeKind.TASK}),
    BackingOff: frozenset({NodeKind.TASK}),
    Running: frozenset({NodeKind.TASK}),
    Collecting: frozenset({NodeKind.TASK}),
    Preparing: frozenset({NodeKind.WORKFLOW, NodeKind.BRANCH, NodeKind.ARRAY, NodeKind.GATE}),
    RunningSubgraph: frozenset({NodeKind.TASK, NodeKind.WORKFLOW, NodeKind.BRANCH}),
    RunningSubtasks: frozenset({NodeKind.ARRAY}),
    WritingOutputs: frozenset({NodeKind.ARRAY, NodeKind.END}),
    AtGate: frozenset({NodeKind.GATE}),
    OpeningGate: frozenset({NodeKind.GATE}),
}
"""The kinds of node that can be in each state."""


def check_snapshot(snapshot: Snapshot) -> None:
    """Raises CorruptBlob."""
    nodes = len(snapshot.phases)
    _require(nodes <= MAX_NODES, f"it has {nodes} nodes, and may have {MAX_NODES}")
    _require(len(snapshot.attempts) == nodes, f"it has {nodes} phases and {len(snapshot.attempts)} attempts")
    _require(set(snapshot.phases) <= _PHASES, "a node is in a phase that does not exist")
    _require(snapshot.phase.ended or bool(snapshot.frames), "it has no graph, and has not ended")
    _require_time("createdAt", snapshot.created_at)
    _require_time("endedAt", snapshot.ended_at or 0.0)
    for name, times in (("started", snapshot.started), ("ended", snapshot.ended)):
        _require(len(times) in {0, 4 * nodes}, f"`{name}` has {len(times)} bytes for {nodes} nodes")
        _require(all(-LAST_TIME < value < LAST_TIME for value in array("f", times)), f"a time in `{name}` is none")
    _require(bool(snapshot.started) == bool(snapshot.ended), "it has but one of `started` and `ended`")
    for name, keys in (
        ("states", snapshot.states),
        ("failures", snapshot.failures),
        ("system failures", snapshot.system_failures),
        ("evictions", snapshot.evictions),
    ):
        _require(all(0 <= node < nodes for node in keys), f"its {name} are of nodes that do not exist")
    for counts in (snapshot.system_failures, snapshot.evictions):
        _require(all(0 <= count <= MAX_ATTEMPTS for count in counts.values()), "a count of failures is none")
    _require(len(snapshot.cached) <= nodes, "the cache's statuses are of nodes that do not exist")
    _require(set(snapshot.cached) <= _CACHE_STATUSES, "a cache's status does not exist")
    check_placed(snapshot.placed, nodes, MAX_ATTEMPTS)
    _check_frames(snapshot.frames, nodes, snapshot.attempts)
    if not snapshot.phase.ended:
        active = {node for node, phase in enumerate(snapshot.phases) if phase not in _ENDED_OR_NOT_BEGUN}
        _require(active == snapshot.states.keys(), "nodes that are active have no state, or others have one")
        _require(not snapshot.frames[0].ended, "its graph has ended, and it has not")
    for node, state in snapshot.states.items():
        _check_times(state)
        if isinstance(state, AttemptState):
            _require(state.attempt == snapshot.attempts[node], f"node {node} is at two attempts at once")
    _check_jobs(snapshot, nodes)


def _check_jobs(snapshot: Snapshot, nodes: int) -> None:
    for job in snapshot.jobs:
        _require(0 <= job.node < nodes, f"a job is that of node {job.node}, which does not exist")
        _require(0 <= job.attempt <= snapshot.attempts[job.node], f"node {job.node} has a job of attempt {job.attempt}")
        _require(len(job.id) <= MAX_ID_BYTES, f"the id of the job of node {job.node} has {len(job.id)} bytes")
        _require(-(2**31) <= job.version < 2**31, f"the job of node {job.node} is of version {job.version}")
        _require_time("a job", job.since)


def check_execution(execution: Execution) -> None:
    """Raises CorruptBlob for states that do not fit the plan. For a snapshot that has passed `check_snapshot`."""
    if execution.phase.ended:
        reasoned = execution.phase is not WorkflowPhase.FAILED or execution.failure is not None
        _require(reasoned, "it has failed, and has no failure")
        return
    for node, state in execution.states.items():
        spec = execution.view(node).spec
        kind = NodeKind.TASK if spec.launch_plan is not None else spec.kind
        fits = kind in _KINDS[type(state)] and not (spec.launch_plan and isinstance(state, RunningSubgraph))
        _require(fits, f"node {node}, of kind {kind}, is {type(state).__name__.lower()}")
        if isinstance(state, RunningSubgraph) and (state.frame < 0) is not (kind is NodeKind.BRANCH):
            _require(False, f"node {node}, of kind {kind}, is inside of graph {state.frame}")
        if isinstance(state, RunningSubtasks):
            _check_mapping(execution, node, state)
        elif isinstance(state, RunningSubgraph | WritingOutputs) and state.frame >= 0:
            running = isinstance(state, RunningSubgraph) and not _only_caches(execution, node, state.frame)
            _check_frame(execution, node, state.frame, running=running)
    ready = any(
        not frame.ended and (frame.failure is not None or _has_ready(execution, frame.base, len(frame.graph.nodes)))
        for frame in execution.frames
    )
    _require(bool(execution.states) or ready, "none of its nodes is active or can start, and it has not ended")


def _check_frames(frames: Iterable[FrameRecord], nodes: int, attempts: bytes) -> None:
    seen: set[tuple[int, int]] = set()
    for number, frame in enumerate(frames):
        _require((frame.parent < 0) is (number == 0), f"graph {number} is inside of node {frame.parent}")
        _require(number > 0 or frame.items < 0, "the workflow itself has items")
        _require(frame.parent < nodes, f"graph {number} is inside of node {frame.parent}, which does not exist")
        most = attempts[frame.parent] if number else 0
        _require(0 <= frame.parent_attempt <= most, f"graph {number} is of attempt {frame.parent_attempt} of its node")
        _require(frame.items <= nodes, f"graph {number} has {frame.items} items, more than there are nodes")
        opened = (frame.parent, frame.parent_attempt)
        _require(opened not in seen, f"graph {number} is opened twice")
        seen.add(opened)


def _check_mapping(execution: Execution, node: int, state: RunningSubtasks) -> None:
    _require(state.frame >= 0, f"node {node} maps over graph {state.frame}")
    _check_frame(execution, node, state.frame, running=True)
    size = len(execution.frames[state.frame].graph.nodes)
    counts = (state.size, state.next, state.succeeded, state.failed)
    fits = state.size == size and 0 <= state.next <= size and state.succeeded >= 0 and state.failed >= 0
    _require(fits and state.succeeded + state.failed < size, f"node {node} counts {counts} of {size} items")


def _only_caches(execution: Execution, node: int, number: int) -> bool:
    """Whether the graph of a dynamic task may have ended well before the task: its outputs are being cached."""
    view = execution.view(node)
    if view.spec.kind is not NodeKind.TASK or number >= len(execution.frames) or not caching_of(view):
        return False
    return execution.frames[number].failure is None


def _check_frame(execution: Execution, node: int, number: int, *, running: bool) -> None:
    _require(number < len(execution.frames), f"node {node} is inside of graph {number}, which does not exist")
    frame = execution.frames[number]
    _require(frame.parent == node, f"node {node} is inside of graph {number}, which is another's")
    _require(not (running and frame.ended), f"node {node} is inside of graph {number}, which has ended")


def _has_ready(execution: Execution, base: int, count: int) -> bool:
    phases, unmet = execution.phases, execution.unmet
    return any(phases[node] == NodePhase.NOT_STARTED and not unmet[node] for node in range(base, base + count))


def _check_times(state: State) -> None:
    match state:
        case Launching(since=since, refusals=refusals):
            times: tuple[float, ...] = (since, refusals.since, refusals.denied)
        case BackingOff(until=until, since=since, refusals=refusals):
            times = (until, since, refusals.since, refusals.denied)
        case Running(since=since, until=until):
            times = (since, until)
        case Collecting(since=since) | RunningSubgraph(since=since) | AtGate(since=since):
            times = (since,)
        case _:
            times = ()
    for time in times:
        _require_time("a state", time)
    if isinstance(state, Launching | BackingOff):
        _require(0 <= state.refusals.tries < 2**53, "a count of refusals is none")


def _require_time(name: str, value: float) -> None:
    _require(0 <= value <= LAST_TIME, f"the time of {name} is {value}")  # nor is NaN


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise CorruptBlob(f"the status is damaged: {what}")
