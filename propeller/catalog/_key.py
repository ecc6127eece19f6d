"""What identifies a computation, as in Flyte's catalog: project, domain and name of the task, the cache version, its
interface, and its inputs without those that it ignores.

Guarantees
    Equal literals give the same key, in whatever order a map was serialized. A literal that carries a hash counts by
    that hash alone, wherever it is: in a list, a map or a union, and offloaded.
    What does not change a computation does not enter: descriptions of variables, the task's own version, where a
    literal came from.
Source
    flytepropeller/pkg/controller/nodes/catalog/datacatalog/transformer.go, flyteplugins catalog/hashing.go (1.16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import msgspec
from flyteidl.core import interface_pb2, literals_pb2, tasks_pb2

from propeller.storage import in_thread_if_large
from propeller.wire import HASH, Literals, Slice, only, parse, text
from propeller.workflow import Caching

MAX_COMPONENT = 100
"""Bytes of a name in a path; longer ones are cut and told apart by their digest."""

ENTRY = ".pb"
RESERVATION = ".reservation"
"""Suffixes of the blobs of a key."""


class Key(msgspec.Struct, frozen=True, rename="camel"):
    """A computation. `interface` and `inputs` are digests by variable; those of ignored inputs are not in it."""

    project: str
    domain: str
    task: str
    version: str
    variables: dict[str, str]
    """By `inputs.NAME` and `outputs.NAME`: the digest of the variable's type."""
    inputs: dict[str, str]
    """By name: the digest of the literal."""
    ignored: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where the key's blobs are, below the catalog's prefix and without suffix."""
        context = digest(self.version, *_pairs(self.variables))[:32]
        return f"{task_path(self.project, self.domain, self.task)}/{context}/{digest(*_pairs(self.inputs))[:40]}"


def task_path(project: str, domain: str, task: str) -> str:
    """Where the entries of a task are, below the catalog's prefix."""
    return "/".join(map(component, (project, domain, task)))


def component(name: str) -> str:
    """A name as one component of a path: without "/", and no longer than `MAX_COMPONENT` bytes."""
    quoted = quote(name, safe="") or "-"
    if not quoted.strip("."):
        quoted = quoted.replace(".", "%2E")
    return quoted if len(quoted) <= MAX_COMPONENT else f"{quoted[:60]}~{digest(name)[:32]}"


def digest(*texts: str) -> str:
    """The SHA-256 of texts, each with its length."""
    hashed = hashlib.sha256()
    for one in texts:
        encoded = one.encode()
        hashed.update(b"%d:" % len(encoded))
        hashed.update(encoded)
    return hashed.hexdigest()


async def key_of(task: tasks_pb2.TaskTemplate, caching: Caching, inputs: Literals, most: int) -> Key:
    """Return the key of a task with these inputs; `most` limits how many messages of one input are parsed. Raises
    CorruptBlob for inputs that cannot be parsed.
    """
    variables = {f"inputs.{name}": one for name, one in _types(task.interface.inputs)}
    variables |= {f"outputs.{name}": one for name, one in _types(task.interface.outputs)}
    counted = sorted(name for name in inputs.raw if name not in caching.ignored)
    literals = {name: await _literal_digest(inputs.raw[name], name, most) for name in counted}
    identity = task.id
    return Key(
        identity.project, identity.domain, identity.name, caching.version, variables, literals, tuple(caching.ignored)
    )


def _pairs(digests: Mapping[str, str]) -> Iterable[str]:
    return (part for name in sorted(digests) for part in (name, digests[name]))


def _types(variables: interface_pb2.VariableMap) -> Iterable[tuple[str, str]]:
    for name in sorted(variables.variables):
        message = variables.variables[name].type.SerializeToString(deterministic=True)
        yield name, hashlib.sha256(message).hexdigest()[:32]


async def _literal_digest(literal: Slice, name: str, most: int) -> str:
    tag, given = only(literal, (HASH,))
    if tag and given.size:
        return digest("hash", text(given))
    return await in_thread_if_large(literal.size, _digest_of_parsed, literal.tobytes(), name, most)


def _digest_of_parsed(data: bytes, name: str, most: int) -> str:
    literal = parse(literals_pb2.Literal, data, most, f"input {name!r}", "storage.max_messages")
    _forget_hashed(literal)
    return hashlib.sha256(literal.SerializeToString(deterministic=True)).hexdigest()


def _forget_hashed(literal: literals_pb2.Literal) -> None:
    """Drop the values of literals that carry a hash, in place."""
    open_literals = [literal]
    while open_literals:
        one = open_literals.pop()
        kind = one.WhichOneof("value")
        if one.hash and kind:
            one.ClearField(kind)
            one.ClearField("metadata")
        elif kind == "collection":
            open_literals.extend(one.collection.literals)
        elif kind == "map":
            open_literals.extend(one.map.literals[key] for key in one.map.literals)
        elif kind == "scalar" and one.scalar.WhichOneof("value") == "union":
            open_literals.append(one.scalar.union.value)
