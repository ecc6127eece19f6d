"""An execution as a compact record, and back: msgpack of arrays, compressed with zstd.

Guarantees
    `take` then `rebuild` gives an execution that decides as the original would; derived things (unmet dependencies,
    counts) are computed anew and not stored. `decode` refuses newer versions with NotUnderstood; blobs that unfold to
    more than `LIMIT` bytes, and anything malformed, with CorruptBlob.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable

import msgspec
import zstandard

from propeller.errors import CorruptBlob, NotUnderstood
from propeller.status._validity import check_execution, check_snapshot
from propeller.workflow import (
    ENDED,
    Execution,
    ExecutionInfo,
    Failure,
    Frame,
    Graph,
    Inside,
    ItemsGraph,
    NodeKind,
    NodePhase,
    NodeView,
    Plan,
    State,
    WorkflowPhase,
)

VERSION = 1
LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded snapshot: a hundred times that of a workflow of 50,000 nodes."""

LoadGraph = Callable[[NodeView, int], Awaitable[Graph]]
"""`(dynamic node, attempt) -> its graph`, compiled again from its futures."""


class FrameRecord(msgspec.Struct, frozen=True, array_like=True):
    """One opened graph: which node it is inside of, at which attempt, and for a map task how many items it has."""

    parent: int
    parent_attempt: int
    items: int = -1
    ended: bool = False
    failure: Failure | None = None


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Everything that cannot be computed from the plan."""

    version: int
    plan: str
    phase: WorkflowPhase
    created_at: float
    ended_at: float | None
    failure: Failure | None
    frames: list[FrameRecord]
    phases: bytes
    attempts: bytes
    states: dict[int, State]
    failures: dict[int, Failure]
    system_failures: dict[int, int]
    started: bytes = b""
    ended: bytes = b""
    uid: str = ""
    """Of the object that it is the status of."""


class _Versioned(msgspec.Struct, frozen=True, array_like=True):
    """As much of a snapshot as every version has."""

    version: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


def take(execution: Execution) -> Snapshot:
    """The execution's record as it is now, whatever happens to the execution later."""
    return Snapshot(
        VERSION,
        execution.plan.digest,
        execution.phase,
        execution.created_at,
        execution.ended_at,
        execution.failure,
        [_record(frame) for frame in execution.frames],
        bytes(execution.phases),
        bytes(execution.attempts),
        dict(execution.states),
        dict(execution.failures),
        dict(execution.system_failures),
        execution.started.tobytes(),
        execution.ended.tobytes(),
        execution.info.uid,
    )


def without_times(snapshot: Snapshot) -> Snapshot:
    """A smaller one: people no longer see when finished nodes ran."""
    return msgspec.structs.replace(snapshot, started=b"", ended=b"")


def encode(snapshot: Snapshot) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(_ENCODER.encode(snapshot))


def decode(blob: bytes) -> Snapshot:
    """Raises CorruptBlob; NotUnderstood for the status of a newer version."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(blob, max_output_size=LIMIT)
        version = msgspec.msgpack.decode(raw, type=_Versioned).version
        if version > VERSION:
            raise NotUnderstood(
                f"the status has version {version}, and this propeller reads {VERSION}: run the newer one that wrote it"
            )
        snapshot = _DECODER.decode(raw)
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise CorruptBlob(f"the status does not decode: {error}") from error
    if snapshot.version != VERSION:
        raise CorruptBlob(f"the status has version {snapshot.version}; this propeller reads {VERSION}")
    check_snapshot(snapshot)
    return snapshot


async def rebuild(info: ExecutionInfo, plan: Plan, snapshot: Snapshot, load_graph: LoadGraph) -> Execution:
    """The execution of a snapshot. Dynamic graphs are loaded in the order they were opened. Raises CorruptBlob."""
    if snapshot.plan != plan.digest:
        raise CorruptBlob(f"the status of {info.namespace}/{info.name} belongs to another version of its workflow")
    if snapshot.uid and snapshot.uid != info.uid:
        raise CorruptBlob(f"the status of {info.namespace}/{info.name} is that of another execution, {snapshot.uid}")
    execution = Execution(info, plan, now=snapshot.created_at)
    execution.phase = snapshot.phase
    execution.failure = snapshot.failure
    execution.ended_at = snapshot.ended_at
    execution.attempts[:] = b""
    for record in snapshot.frames:
        await _open(execution, snapshot, record, load_graph)
        if len(execution.phases) > len(snapshot.phases):
            break  # as is said below
    if len(execution.phases) != len(snapshot.phases) or len(snapshot.attempts) != len(snapshot.phases):
        raise CorruptBlob(
            f"the status of {execution.key} has {len(snapshot.phases)} nodes, its plan {len(execution.phases)}"
        )
    execution.phases[:] = snapshot.phases
    execution.attempts[:] = snapshot.attempts
    execution.states = dict(snapshot.states)
    execution.failures = dict(snapshot.failures)
    execution.system_failures = dict(snapshot.system_failures)
    if snapshot.started:
        execution.started = array("f", snapshot.started)
        execution.ended = array("f", snapshot.ended)
    for frame in execution.frames:
        recount(execution, frame)
    check_execution(execution)
    return execution


def _record(frame: Frame) -> FrameRecord:
    items = len(frame.graph.nodes) if frame.items else -1
    return FrameRecord(frame.parent, frame.parent_attempt, items, frame.ended, frame.failure)


async def _open(execution: Execution, snapshot: Snapshot, record: FrameRecord, load_graph: LoadGraph) -> None:
    if record.parent < 0:
        graph = execution.plan.root
    elif record.parent >= len(execution.phases):
        raise CorruptBlob(
            f"the status of {execution.key} opens a graph inside node {record.parent}, which does not exist"
        )
    else:
        execution.attempts[record.parent] = snapshot.attempts[record.parent]
        graph = await _graph_inside(execution.view(record.parent), record, load_graph)
    frame = execution.open_frame(
        graph, parent=record.parent, parent_attempt=record.parent_attempt, items=record.items >= 0
    )
    frame.ended, frame.failure = record.ended, record.failure


async def _graph_inside(node: NodeView, record: FrameRecord, load_graph: LoadGraph) -> Graph:
    if record.items >= 0 and node.spec.array is not None:
        return ItemsGraph(node.graph.plan, node.spec, record.items)
    if node.spec.kind is NodeKind.WORKFLOW and node.spec.workflow is not None:
        return node.graph.plan.sub_workflows[node.spec.workflow.sub_workflow_ref or ""]
    if record.items >= 0 or node.spec.kind is not NodeKind.TASK:
        raise CorruptBlob(f"the status of {node.where} opens a graph inside it, though it is of kind {node.spec.kind}")
    return await load_graph(node, record.parent_attempt)


def recount(execution: Execution, frame: Frame) -> None:
    """Unmet dependencies, active nodes and running tasks follow from the phases."""
    graph, base = frame.graph, frame.base
    for number in range(len(graph.nodes)):
        phase = execution.phases[base + number]
        if phase == NodePhase.SUCCEEDED:
            for successor in graph.downstream[number]:
                execution.unmet[base + successor] -= 1
        if phase != NodePhase.NOT_STARTED and phase not in ENDED:
            frame.active += 1
            inside = isinstance(execution.states.get(base + number), Inside)
            execution.running += graph.nodes[number].kind is NodeKind.TASK and not inside
    for branch, cases in graph.cases.items():
        if _has_chosen(execution, base + branch, [base + case for case in cases]):
            for case in cases:
                if execution.phases[base + case] != NodePhase.SKIPPED:
                    execution.unmet[base + case] -= 1


def _has_chosen(execution: Execution, branch: int, cases: list[int]) -> bool:
    """Also a branch that was aborted afterwards: the cases that it did not choose show it."""
    if execution.phases[branch] == NodePhase.SUCCEEDED or isinstance(execution.states.get(branch), Inside):
        return True
    return any(execution.phases[case] == NodePhase.SKIPPED for case in cases)
