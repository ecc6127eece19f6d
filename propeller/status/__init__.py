"""The status of an execution: a head for people, and a compressed snapshot from which the execution is rebuilt."""

from propeller.status._flyte import is_flytes
from propeller.status._head import (
    MESSAGE_CHARACTERS,
    SHORT_MESSAGE_CHARACTERS,
    decode_status,
    encode_status,
    error_of,
    head,
    offloaded_to,
    said_of,
    size_of,
    wait_of,
)
from propeller.status._left_jobs import LEFT_JOBS, left_job, left_jobs_of, no_left_job
from propeller.status._newest import is_own_snapshot, supersede
from propeller.status._snapshot import INLINE_NODES, LoadGraph, Snapshot, decode, encode, rebuild, take, without_times
from propeller.status._takeover import take_over

__all__ = [
    "INLINE_NODES",
    "LEFT_JOBS",
    "MESSAGE_CHARACTERS",
    "SHORT_MESSAGE_CHARACTERS",
    "LoadGraph",
    "Snapshot",
    "decode",
    "decode_status",
    "encode",
    "encode_status",
    "error_of",
    "head",
    "is_flytes",
    "is_own_snapshot",
    "left_job",
    "left_jobs_of",
    "no_left_job",
    "offloaded_to",
    "rebuild",
    "said_of",
    "size_of",
    "supersede",
    "take",
    "take_over",
    "wait_of",
    "without_times",
]
