"""What a task may leave in its directory instead of outputs: bombs, garbage, and what is no file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from flyteidl.core import dynamic_job_pb2, errors_pb2, literals_pb2

OUTPUTS, ERROR, FUTURES = "outputs.pb", "error.pb", "futures.pb"
BOMB_BYTES = 4_000_000

Blob = Callable[[Random, Path, literals_pb2.LiteralMap], str]
"""Writes it into a directory, beside or instead of these outputs; returns what it did."""


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(tag: int, data: bytes) -> bytes:
    """A length-delimited field; `tag` is its first byte."""
    return bytes([tag]) + varint(len(data)) + data


def entry(name: str, literal: bytes) -> bytes:
    """One entry of a LiteralMap."""
    return field(0x0A, field(0x0A, name.encode()) + field(0x12, literal))


def bomb(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    """Millions of empty literals in a list: a parsed one takes fifty times its two bytes."""
    many = b"\x0a\x00" * (BOMB_BYTES // 2)
    names = list(outputs.literals) or ["o0"]
    (directory / OUTPUTS).write_bytes(b"".join(entry(name, field(0x12, many)) for name in names))
    return "a list of millions of empty literals"


def bomb_of_entries(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    (directory / OUTPUTS).write_bytes(b"\x0a\x00" * (BOMB_BYTES // 2))
    return "millions of empty entries"


def bomb_of_futures(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    tag = random.choice([0x0A, 0x12, 0x1A, 0x22, 0x2A])
    (directory / FUTURES).write_bytes(bytes([tag, 0]) * (BOMB_BYTES // 2))
    return f"futures of millions of empty messages in field {tag >> 3}"


def bomb_of_errors(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    document = errors_pb2.ErrorDocument()
    document.error.message = "password" * (BOMB_BYTES // 8)
    document.error.code = "\x1b[2J" * 10_000
    (directory / ERROR).write_bytes(document.SerializeToString())
    return "an error of millions of characters"


def nested(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    literal = b""
    for _ in range(random.choice([90, 110, 2_000])):
        literal = field(0x12, field(0x0A, literal))
    (directory / OUTPUTS).write_bytes(b"".join(entry(name, literal) for name in list(outputs.literals) or ["o0"]))
    return "lists in lists"


def garbage(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    name = random.choice([OUTPUTS, ERROR, FUTURES])
    (directory / name).write_bytes(random.randbytes(random.choice([1, 10, 1000, 100_000])))
    return f"random bytes in {name}"


def flipped(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    data = bytearray(outputs.SerializeToString())
    for _ in range(random.randint(1, 3)):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    (directory / OUTPUTS).write_bytes(bytes(data))
    return "flipped bytes"


def wrong(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    """Values of other types than declared, and names that are not."""
    found = literals_pb2.LiteralMap()
    for name in random.sample([*outputs.literals, "other", "\x1b[2J", ""], 2):
        found.literals[name].scalar.primitive.string_value = "\u202e$(PATH)"
    (directory / OUTPUTS).write_bytes(found.SerializeToString())
    return "other names and types"


def elsewhere(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    """Literals that say that they are kept in a place of the task's choice."""
    place = random.choice(["file:///etc/passwd", "file:///dev/zero", "s3://other/secret", "memory://x", "x", ""])
    found = literals_pb2.LiteralMap()
    for name in outputs.literals:
        found.literals[name].offloaded_metadata.uri = place
    (directory / OUTPUTS).write_bytes(found.SerializeToString())
    return f"literals kept at {place}"


def futures(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    job = dynamic_job_pb2.DynamicJobSpec(min_successes=random.choice([0, -1, 2**40]))
    for number in range(random.choice([0, 1, 50])):
        node = job.nodes.add(id=random.choice([f"d{number}", "", "d0", "../x", "\x1b[2J"]))
        node.task_node.reference_id.name = random.choice(["t", "none"])
        node.upstream_node_ids.append(random.choice(["d0", "none", node.id]))
    (directory / FUTURES).write_bytes(job.SerializeToString())
    return "futures that do not compile"


def no_file(random: Random, directory: Path, outputs: literals_pb2.LiteralMap) -> str:
    path = directory / random.choice([OUTPUTS, ERROR, FUTURES])
    what = random.choice(["fifo", "directory", "device", "link", "loop", "dangling", "socket"])
    match what:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "link":
            path.symlink_to("/etc/passwd")
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to("/nowhere/at/all")
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
    return f"a {what} as {path.name}"


BLOBS: tuple[Blob, ...] = (
    bomb,
    bomb_of_entries,
    bomb_of_futures,
    bomb_of_errors,
    nested,
    garbage,
    flipped,
    wrong,
    elsewhere,
    futures,
    no_file,
)


def leaver(random: Random, pods: Any, told: dict[str, list[str]]) -> Callable[[Path, dict[str, Any]], None]:
    """For `Pods.leave`: one of these for each pod; `told` gets what was left, by workflow."""

    def leave(directory: Path, pod: dict[str, Any]) -> None:
        done = random.choice(BLOBS)(random, directory, pods.outputs_of(pod))
        told.setdefault(pod["metadata"]["ownerReferences"][0]["name"], []).append(done)

    return leave
