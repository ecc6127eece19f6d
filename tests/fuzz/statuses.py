"""Statuses that somebody else wrote into running executions, and annotations of their pods."""

from __future__ import annotations

import base64
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import zstandard

from tests.fuzz.damage import damage

_FRAME = b"\x28\xb5\x2f\xfd"  # the magic number of zstd

NUMBERS = ("-1", "255", "256", "300", "9" * 5_000, "1e3", "NaN", "٣", "", " 1", "0x1", "1.5")


def _blob(status: dict[str, Any]) -> bytes:
    return base64.b64decode(status["nodes"])


def _with(status: dict[str, Any], blob: bytes) -> dict[str, Any]:
    return {"nodes": base64.b64encode(blob).decode()}


def truncated(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    text = status["nodes"]
    return {"nodes": text[: random.randrange(len(text))]}, "truncated"


def flipped(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    blob = bytearray(_blob(status))
    blob[random.randrange(len(blob))] ^= 1 << random.randrange(8)
    return _with(status, bytes(blob)), "a flipped bit"


def lying(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A frame that says that it is 16 EiB, or a byte, and one that unfolds to gigabytes."""
    match random.randrange(3):
        case 0:
            return _with(status, _FRAME + b"\xe0" + b"\xff" * 8 + _blob(status)[6:]), "a frame of 2**64 bytes"
        case 1:
            return _with(status, _FRAME + b"\x20\x01" + _blob(status)[6:]), "a frame of one byte"
        case _:
            many = zstandard.ZstdCompressor(level=1).compress(bytes(300 * 2**20))
            return _with(status, many), "a frame that unfolds to 300 MiB"


def altered(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A snapshot that decodes, with a member of another value."""
    members: Any = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(_blob(status)))
    done = damage(random, members)
    try:
        packed = msgspec.msgpack.encode(members)
    except (OverflowError, ValueError, RecursionError):
        return {"nodes": "x"}, "no base64"
    return _with(status, zstandard.ZstdCompressor().compress(packed)), f"altered: {done}"


def newer(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    members: Any = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(_blob(status)))
    members[0] = random.choice([0, 2, 99, 2**40])
    return _with(
        status, zstandard.ZstdCompressor().compress(msgspec.msgpack.encode([*members, {"new": True}]))
    ), f"version {members[0]}"


def elsewhere(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    uri = random.choice(["file:///etc/passwd", "s3://other/secret", "file:///dev/zero", "x", "../x", ""])
    reference = {"uri": uri, "sha256": "0" * 64, "bytes": random.choice([1, -1, 2**70, "x", None])}
    return {"nodes": None, "nodesReference": reference}, f"kept at {uri}"


def directory(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    place = random.choice(["file:///etc", "file:///tmp", "s3://other/x", "x", "../..", 5, ["x"]])
    return {"dataDir": place}, f"dataDir {place}"


def head(random: Random, status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    copy = {key: value for key, value in status.items() if key != "phase"}
    done = damage(random, copy)
    return copy, f"head: {done}"


STATUSES: tuple[Callable[[Random, dict[str, Any]], tuple[dict[str, Any], str]], ...] = (
    truncated,
    flipped,
    lying,
    altered,
    altered,
    newer,
    elsewhere,
    directory,
    head,
)


def pod_metadata(random: Random, pod: dict[str, Any]) -> dict[str, Any]:
    """A patch of a pod's metadata."""
    name = random.choice(
        [
            "propeller/attempt",
            "propeller/attempt",
            "propeller/node",
            "propeller/system-failures",
            "primary_container_name",
        ]
    )
    value = random.choice([*NUMBERS, "n0", "n1", "../..", "\u202e", "x" * 10_000, None])
    return {"annotations": {name: value}}


__all__ = ["STATUSES", "pod_metadata"]
