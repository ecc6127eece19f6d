"""Encode an execution as a compact record, and decode it: msgpack of arrays, compressed with zstd.

Guarantees
    `take` then `rebuild` gives an execution that decides as the original would. Derived data (unmet dependencies,
    counts) is recomputed, not stored. `decode` raises NotUnderstood for newer versions, and CorruptBlob for blobs that
    decompress to more than `LIMIT` bytes and for anything malformed.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import zstandard

from propeller.errors import CorruptBlob, NotUnderstood
from propeller.status._compression import LIMIT, compress, decompress, is_small
from propeller.status._placed import Placed, placements_of, taken
from propeller.status._reasons import without_reasons
from propeller.status._validity import check_execution, check_snapshot
from propeller.workflow import (
    ENDED,
    Execution,
    ExecutionInfo,
    Failure,
    Failures,
    Frame,
    Graph,
    ItemsGraph,
    Job,
    Jobs,
    NodeKind,
    NodePhase,
    NodeView,
    Plan,
    RunningSubgraph,
    State,
    WorkflowPhase,
)

VERSION = 1
MAX_RECORDS = 400_000
"""Graphs, active nodes, failures and jobs in a snapshot: 100,000 items that each failed and were evicted have fewer."""

INLINE_NODES = 5_000
"""An execution of more is compressed, and rebuilt, in a thread: either takes over 2 ms."""

AT_ONCE = 2_000
"""Records that are decoded in one call, which no other thread can interrupt: 4 ms."""

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
    """UID of the object that the status belongs to."""
    evictions: dict[int, int] = {}
    placed: Placed | None = None
    cached: bytes = b""
    """The cache's status of each node (`CacheStatus`); shorter if the last ones have none."""
    jobs: list[Job] = []
    """Of remote services: those that are not known to have ended."""


class _Versioned(msgspec.Struct, frozen=True, array_like=True):
    """As much of a snapshot as every version has."""

    version: int


_NONE = msgspec.Raw(b"\xc0")
"""Of a field that an earlier version's snapshot has not."""


class _Counted(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot, of which nothing is decoded that may be long."""

    version: int
    plan: msgspec.Raw
    phase: msgspec.Raw
    created_at: msgspec.Raw
    ended_at: msgspec.Raw
    failure: msgspec.Raw
    frames: msgspec.Raw
    phases: msgspec.Raw
    attempts: msgspec.Raw
    states: msgspec.Raw
    failures: msgspec.Raw
    system_failures: msgspec.Raw
    started: msgspec.Raw = _NONE
    ended: msgspec.Raw = _NONE
    uid: msgspec.Raw = _NONE
    evictions: msgspec.Raw = _NONE
    placed: msgspec.Raw = _NONE
    cached: msgspec.Raw = _NONE
    jobs: msgspec.Raw = _NONE

    @property
    def records(self) -> int:
        counted = (self.frames, self.states, self.failures, self.system_failures, self.evictions, self.jobs)
        return sum(map(_length, counted))


def _length(raw: msgspec.Raw) -> int:
    """How many items or entries an array or a map of msgpack says that it has; 0 for anything else."""
    head = bytes(memoryview(raw)[:5])
    if 0x80 <= head[0] <= 0x9F:
        return head[0] & 0x0F
    width = {0xDC: 2, 0xDE: 2, 0xDD: 4, 0xDF: 4}.get(head[0], 0)
    return int.from_bytes(head[1 : 1 + width], "big")


_RECORDS: dict[str, Any] = {
    "frames": list[msgspec.Raw],
    "states": dict[int, msgspec.Raw],
    "failures": dict[int, msgspec.Raw],
    "jobs": list[msgspec.Raw],
}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field(default=field.default)


_Split: Any = msgspec.defstruct(
    "_Split",
    [(field.name, _RECORDS.get(field.name, field.type), _default(field)) for field in msgspec.structs.fields(Snapshot)],
    frozen=True,
    array_like=True,
)
"""A snapshot whose records are still to be decoded."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)
_SPLIT = msgspec.msgpack.Decoder(_Split)
_FRAME = msgspec.msgpack.Decoder(FrameRecord)
_STATE: msgspec.msgpack.Decoder[State] = msgspec.msgpack.Decoder(State)
_FAILURE = msgspec.msgpack.Decoder(Failure)
_JOB = msgspec.msgpack.Decoder(Job)
_THREAD = ThreadPoolExecutor(1, "decode-status")
"""One for all of the process, so that strangers' blobs are unfolded one after the other: `LIMIT` bytes at a time."""


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
        _of_active(execution, execution.system_failures),
        execution.started.tobytes(),
        execution.ended.tobytes(),
        execution.info.uid,
        _of_active(execution, execution.evictions),
        taken(execution),
        bytes(execution.cache.statuses),
        list(execution.jobs),
    )


def _of_active(execution: Execution, counts: dict[int, int]) -> dict[int, int]:
    """Counts of nodes that have not ended: budgets of the others do not matter any more."""
    return {node: count for node, count in counts.items() if node in execution.states} if counts else {}


def without_times(snapshot: Snapshot) -> Snapshot:
    """A smaller one: people no longer see when finished nodes ran."""
    return msgspec.structs.replace(snapshot, started=b"", ended=b"")


def encode(snapshot: Snapshot) -> bytes:
    """With a checksum in the frame: most flipped bits would decode to another state."""
    raw = _ENCODER.encode(snapshot)
    if len(raw) > LIMIT:  # reasons of 100,000 nodes that wait: what could not be read again would be lost
        raw = _ENCODER.encode(msgspec.structs.replace(snapshot, states=without_reasons(snapshot.states)))
    return compress(raw)


async def decode_off_loop(blob: bytes) -> Snapshot:
    """As `decode`, in a thread if that takes long."""
    if is_small(blob):
        return decode(blob)
    await asyncio.sleep(0)  # a caller that must not suspend stops here, before a thread starts
    return await asyncio.get_running_loop().run_in_executor(_THREAD, decode, blob)


def decode(blob: bytes) -> Snapshot:
    """Raises CorruptBlob; NotUnderstood for the status of a newer version."""
    try:
        raw = decompress(blob)
        version = msgspec.msgpack.decode(raw, type=_Versioned).version
        if version > VERSION:
            raise NotUnderstood(
                f"the status has version {version}, and this propeller reads {VERSION}: run the newer one that wrote it"
            )
        if (records := msgspec.msgpack.decode(raw, type=_Counted).records) > MAX_RECORDS:
            raise CorruptBlob(f"the status has {records} records, and may have {MAX_RECORDS}")
        snapshot = _DECODER.decode(raw) if records <= AT_ONCE else _piecemeal(_SPLIT.decode(raw))
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise CorruptBlob(f"the status does not decode: {error}") from error
    if snapshot.version != VERSION:
        raise CorruptBlob(f"the status has version {snapshot.version}; this propeller reads {VERSION}")
    check_snapshot(snapshot)
    return snapshot


def _piecemeal(split: Any) -> Snapshot:
    """Record by record: other threads get their turns between them."""
    members = {name: getattr(split, name) for name in split.__struct_fields__}
    members["frames"] = [_FRAME.decode(raw) for raw in split.frames]
    members["states"] = {node: _STATE.decode(raw) for node, raw in split.states.items()}
    members["jobs"] = [_JOB.decode(raw) for raw in split.jobs]
    members["failures"] = {node: _FAILURE.decode(raw) for node, raw in split.failures.items()}
    return Snapshot(**members)


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
    execution.failures = Failures(snapshot.failures)
    execution.system_failures = dict(snapshot.system_failures)
    execution.evictions = dict(snapshot.evictions)
    execution.placements = placements_of(snapshot.placed)
    execution.cache.statuses[:] = snapshot.cached
    execution.jobs = Jobs(snapshot.jobs)
    if snapshot.started:
        execution.started = array("f", snapshot.started)
        execution.ended = array("f", snapshot.ended)
    if len(execution.phases) <= INLINE_NODES:
        _complete(execution)
    else:
        await asyncio.to_thread(_complete, execution)
    return execution


def _complete(execution: Execution) -> None:
    """Compute what is not stored, and check that everything is consistent."""
    for frame in execution.frames:
        recount(execution, frame)
    check_execution(execution)


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
    is_map = node.spec.array is not None
    if is_map != (record.items >= 0):
        raise CorruptBlob(f"the status of {node.log_name} opens a graph inside it that is not of kind {node.spec.kind}")
    if is_map:
        return ItemsGraph(node.graph.plan, node.spec, record.items)
    if node.spec.kind is NodeKind.WORKFLOW and node.spec.workflow is not None and node.spec.launch_plan is None:
        return node.graph.plan.sub_workflows[node.spec.workflow.sub_workflow_ref or ""]
    if node.spec.kind is not NodeKind.TASK:
        raise CorruptBlob(
            f"the status of {node.log_name} opens a graph inside it, though it is of kind {node.spec.kind}"
        )
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
            execution.move_slot(frame, None, execution.states.get(base + number))
    for branch, cases in graph.cases.items():
        if _has_chosen(execution, base + branch, [base + case for case in cases]):
            for case in cases:
                if execution.phases[base + case] != NodePhase.SKIPPED:
                    execution.unmet[base + case] -= 1


def _has_chosen(execution: Execution, branch: int, cases: list[int]) -> bool:
    """Also a branch that was aborted afterwards: the cases that it did not choose show it."""
    if execution.phases[branch] == NodePhase.SUCCEEDED or isinstance(execution.states.get(branch), RunningSubgraph):
        return True
    return any(execution.phases[case] == NodePhase.SKIPPED for case in cases)
