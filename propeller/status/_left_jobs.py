"""Jobs of remote services that their execution's snapshot does not have: their ids became known after its end was
written, or after another process had the execution. A status names them until they are deleted.

Guarantees
    Each job has an entry of its own under `status.leftJobs`: a merge patch that adds or removes one touches no other,
    nor what a checkpoint writes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from propeller.errors import CorruptBlob
from propeller.text import bounded
from propeller.workflow import MAX_ID_BYTES, Job

LEFT_JOBS = "leftJobs"
"""The field of a status. It is no part of what tells one status of a controller from another."""

_CODER = msgspec.msgpack.Encoder()
_JOB = msgspec.msgpack.Decoder(Job)


def left_job(job: Job) -> dict[str, Any]:
    """Return the part of a status that names a job."""
    own = Job(job.node, job.attempt, job.task_type, job.version, job.id, job.since, service=job.service)
    return {LEFT_JOBS: {_key_of(job): base64.b64encode(_CODER.encode(own)).decode()}}


def no_left_job(job: Job) -> dict[str, Any]:
    """Return the merge patch of a status that names the job no more."""
    return {LEFT_JOBS: {_key_of(job): None}}


def left_jobs_of(status: dict[str, Any]) -> list[Job]:
    """Return the jobs that a status names. Raises CorruptBlob for an entry that is none."""
    found = status.get(LEFT_JOBS) or {}
    if not isinstance(found, dict):
        raise CorruptBlob(f"status.{LEFT_JOBS} is no object: {bounded(repr(found), 100)}")
    return [_decoded(key, text) for key, text in found.items()]


def _key_of(job: Job) -> str:
    return f"{job.node}-{job.attempt}-{hashlib.sha256(job.id).hexdigest()[:32]}"


def _decoded(key: str, text: Any) -> Job:
    try:
        job = _JOB.decode(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        raise CorruptBlob(f"status.{LEFT_JOBS}[{bounded(key, 100)!r}] is no job: {error}") from error
    if len(job.id) > MAX_ID_BYTES:
        raise CorruptBlob(f"status.{LEFT_JOBS}[{bounded(key, 100)!r}] has an id of {len(job.id)} bytes")
    return job
