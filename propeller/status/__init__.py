"""The status of an execution: a head for people, and a compressed snapshot from which the execution is rebuilt."""

from propeller.status._head import decode_status, encode_status, head, offloaded_to, size_of
from propeller.status._snapshot import LoadGraph, Snapshot, decode, encode, rebuild, take, without_times

__all__ = [
    "LoadGraph",
    "Snapshot",
    "decode",
    "decode_status",
    "encode",
    "encode_status",
    "head",
    "offloaded_to",
    "rebuild",
    "size_of",
    "take",
    "without_times",
]
