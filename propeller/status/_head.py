"""The readable part of a status, and the whole as it stands in the resource.

`phase` is Flyte's number and `state` its word; times, counts, error and current nodes are for people and kubectl;
`nodes` is the snapshot, base64, or `nodesReference` says where in the object store it is (URI, SHA-256, bytes).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from propeller.clock import rfc3339
from propeller.errors import CorruptBlob, MissingBlob
from propeller.redaction import redact
from propeller.status._compression import LIMIT
from propeller.status._gates import gate_wait
from propeller.status._newest import is_own_snapshot, newest, snapshot_uri
from propeller.status._placed import placement_for_people
from propeller.status._snapshot import INLINE_NODES, Snapshot, decode_off_loop, encode, take, without_times
from propeller.storage import Storage
from propeller.text import bounded, one_line, visible
from propeller.workflow import (
    AtGate,
    BackingOff,
    CacheStatus,
    Execution,
    Failure,
    Job,
    Launching,
    NodePhase,
    Refusals,
    Running,
    State,
    WorkflowPhase,
)

_log = logging.getLogger(__name__)

CURRENT_NODES = 10
"""How many active nodes the head names: enough to see what is going on, few enough to read."""

MESSAGE_CHARACTERS = 8 * 1024
"""Length of the error's message in the head, which contains it twice. The snapshot keeps twice as much."""

SHORT_MESSAGE_CHARACTERS = 256
"""The same if the server has no room for more: its limit applies to the whole object."""

_WORDS = {
    WorkflowPhase.READY: "Ready",
    WorkflowPhase.RUNNING: "Running",
    WorkflowPhase.SUCCEEDING: "Succeeding",
    WorkflowPhase.SUCCEEDED: "Succeeded",
    WorkflowPhase.FAILING: "Failing",
    WorkflowPhase.FAILED: "Failed",
    WorkflowPhase.ABORTED: "Aborted",
    WorkflowPhase.HANDLING_FAILURE_NODE: "HandlingFailureNode",
}


_COUNTED = {phase: phase.name.lower() for phase in NodePhase if phase is not NodePhase.NOT_STARTED}
"""Phases that `counts` has, by their names there: an enum looks its name up each time."""


def head(execution: Execution, now: float, characters: int = MESSAGE_CHARACTERS) -> dict[str, Any]:
    """The readable part; `now` is epoch seconds, `characters` those of the error's message."""
    status: dict[str, Any] = {
        "phase": int(execution.phase),
        "state": _WORDS[execution.phase],
        "startedAt": rfc3339(execution.created_at),
        "lastUpdatedAt": rfc3339(now),
        "stoppedAt": rfc3339(execution.ended_at) if execution.ended_at is not None else None,
        "counts": _counts(execution),
        "currentNodes": [
            one_line(execution.unique_id(node)) for node, _ in zip(execution.states, range(CURRENT_NODES), strict=False)
        ],
        "dataDir": execution.info.directory,
        "waits": _waits(execution, characters),
        "jobs": _jobs(execution, characters),
        "error": None,
        "message": None,
    }
    if execution.cache.statuses:
        status["cache"] = _cache_counts(execution)
    if execution.placements is not None:
        status |= placement_for_people(execution)
    if execution.failure is not None:
        status |= error_of(execution.failure, characters)
    elif status["waits"]:
        status["message"] = _said(status["waits"][0])
    return status


def error_of(failure: Failure, characters: int = MESSAGE_CHARACTERS) -> dict[str, Any]:
    """Format a failure for the status, which many people may read: credentials are masked, terminal control characters
    are escaped.
    """
    message, node = bounded(visible(redact(failure.message)), characters), one_line(failure.node)
    return {
        "error": {"code": one_line(failure.code), "message": message, "kind": str(failure.kind)},
        "message": f"{node}: {message}" if node else message,
    }


async def encode_status(
    execution: Execution, now: float, budget: int, storage: Storage, characters: int = MESSAGE_CHARACTERS
) -> dict[str, Any]:
    """The whole status within `budget` bytes of snapshot: smaller detail first, then the object store."""
    status = head(execution, now, characters)
    status["nodes"], status["nodesReference"] = None, None
    whole = take(execution)
    for snapshot in (whole, without_times(whole)):
        blob = await asyncio.to_thread(encode, snapshot) if len(snapshot.phases) > INLINE_NODES else encode(snapshot)
        text = base64.b64encode(blob).decode()
        if len(text) <= budget:
            status["nodes"] = text
            return status
    digest = hashlib.sha256(blob).hexdigest()
    uri = snapshot_uri(execution.info.directory, digest)
    await storage.write(uri, blob)
    status["nodesReference"] = {"uri": uri, "sha256": digest, "bytes": len(blob)}
    return status


def size_of(status: dict[str, Any]) -> int:
    """Bytes of a status's encoded snapshot, wherever it is kept."""
    reference = status.get("nodesReference")
    if isinstance(reference, dict) and isinstance(size := reference.get("bytes"), int):
        return min(max(size, 0), LIMIT)
    return len(nodes) if isinstance(nodes := status.get("nodes"), str) else 0


def offloaded_to(status: dict[str, Any]) -> str:
    """Return the URI of a status's snapshot if it is in the object store, else ""."""
    reference = status.get("nodesReference")
    return str(reference.get("uri", "")) if isinstance(reference, dict) else ""


async def decode_status(status: dict[str, Any], storage: Storage, directory: str) -> Snapshot | None:
    """Decode the snapshot of a status; None if there is none yet. `directory` is the execution's own.

    Raises CorruptBlob, also if the snapshot is outside of that directory, MissingBlob, StorageError.
    """
    if text := status.get("nodes"):
        try:
            blob = base64.b64decode(text, validate=True)
        except (ValueError, TypeError) as error:
            raise CorruptBlob(f"status.nodes is not base64: {error}") from error
        return await decode_off_loop(blob)
    if reference := status.get("nodesReference"):
        if not isinstance(reference, dict) or not {"uri", "sha256"} <= reference.keys():
            raise CorruptBlob(f"status.nodesReference has no uri and sha256: {reference!r}")
        uri, digest = reference["uri"], reference["sha256"]
        if not is_own_snapshot(uri, directory) or uri != snapshot_uri(directory, digest):
            raise CorruptBlob(
                f"status.nodesReference.uri is {uri!r}, which is not the snapshot {digest!r} below {directory}/status"
            )
        return await _from_store(digest, storage, directory)
    return None


async def _from_store(digest: str, storage: Storage, directory: str) -> Snapshot:
    """The snapshot of that digest. One that is gone was removed for a newer one: a server that was restored from an
    older copy has such a status, and a cache that lags; then it is the newest.
    """
    try:
        return await _read(digest, storage, directory)
    except MissingBlob:
        newer = await newest(directory, storage)
        if newer in ("", digest):
            raise
        _log.warning("%s: the snapshot of its status is gone; the newest one is taken", directory)
        return await _read(newer, storage, directory)


async def _read(digest: str, storage: Storage, directory: str) -> Snapshot:
    uri = snapshot_uri(directory, digest)
    blob = await storage.read(uri)
    if hashlib.sha256(blob).hexdigest() != digest:
        raise CorruptBlob(f"{uri} is not what its name says: its digest differs")
    return await decode_off_loop(blob)


def _waits(execution: Execution, characters: int) -> list[dict[str, Any]] | None:
    """Gates that wait, and nodes whose pods were refused or are held by a queue, with the reason: `CURRENT_NODES` of
    them at most. None if there are none.
    """
    waits = []
    for node, state in execution.states.items():
        waits_for_answer = type(state) is AtGate or _refusals_of(state) is not None
        if waits_for_answer and (wait := wait_of(execution, node, characters)) is not None:
            waits.append({"node": one_line(execution.unique_id(node)), **wait})
            if len(waits) == CURRENT_NODES:
                break
    return waits or None


def _jobs(execution: Execution, characters: int) -> list[dict[str, Any]] | None:
    """Jobs of remote services: `CURRENT_NODES` of them at most. None if there are none."""
    if not execution.jobs:
        return None
    return [
        job_for_people(execution, job, characters) for job, _ in zip(execution.jobs, range(CURRENT_NODES), strict=False)
    ]


def job_for_people(execution: Execution, job: Job, characters: int = SHORT_MESSAGE_CHARACTERS) -> dict[str, Any]:
    """Format what a service said of a job at the last look."""
    return {
        "node": one_line(execution.unique_id(job.node)),
        "attempt": job.attempt,
        "type": one_line(bounded(job.task_type, SHORT_MESSAGE_CHARACTERS)),
        "service": one_line(job.service) or None,
        "since": rfc3339(job.since),
        "phase": one_line(job.phase) or None,
        "message": bounded(one_line(redact(job.message)), characters) or None,
        "logs": [{"name": link.name, "uri": redact(link.uri)} for link in job.links] or None,
        "info": visible(redact(job.info)) or None,
    }


def wait_of(execution: Execution, node: int, characters: int = SHORT_MESSAGE_CHARACTERS) -> dict[str, Any] | None:
    """Return why a node waits that is a gate, or whose pod was refused or is held by a queue: `reason`, `since` (RFC
    3339) and `tries`. None for other nodes.
    """
    state = execution.states.get(node)
    if type(state) is AtGate:
        reason = bounded(one_line(redact(gate_wait(execution, node, state))), characters)
        return {"reason": reason, "since": rfc3339(state.since), "tries": 0}
    refusals = _refusals_of(state)
    if refusals is None:
        return None
    reason = bounded(one_line(redact(refusals.reason)), characters)
    return {"reason": reason, "since": rfc3339(refusals.since), "tries": refusals.tries}


def _refusals_of(state: State | None) -> Refusals | None:
    """Return the refusals of a node's pod, if its create was refused or a queue holds it. Called for every active node
    and every status.
    """
    if (type(state) is Launching or type(state) is BackingOff) and state.refusals.reason:
        return state.refusals
    if type(state) is Running and state.waits_for:
        return Refusals(0, state.since, 0.0, state.waits_for)
    return None


def said_of(wait: Mapping[str, Any]) -> str:
    """What `wait_of` has found, as a sentence without a subject."""
    reason: str = wait["reason"]
    return reason if reason.startswith(("waits for ", "sleeps until ")) else f"waits: {reason}"


def _said(wait: dict[str, Any]) -> str:
    """One of the `waits`, as a sentence."""
    said = "{node} {said}, since {since}".format_map({"said": said_of(wait), **wait})
    return f"{said}, tried {wait['tries']} times" if wait["tries"] else said


def _cache_counts(execution: Execution) -> dict[str, int | None]:
    """How many nodes the cache has which status for; as `_counts`."""
    statuses = execution.cache.statuses
    return {one.name.lower(): statuses.count(one) or None for one in CacheStatus if one is not CacheStatus.DISABLED}


def _counts(execution: Execution) -> dict[str, int | None]:
    """Counts that are absent are None: a merge patch keeps unnamed fields, and an earlier status had named them."""
    counts = execution.count()
    return {name: counts.get(phase) for phase, name in _COUNTED.items()}
