"""Literals by name, as they were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from propeller.errors import CorruptBlob
from propeller.wire._encoded import Encoded, varint
from propeller.wire._fields import Slice, entries, whole
from propeller.wire._parse import parse

PARSED_MESSAGES = 50_000
"""Of one literal that is parsed for a command or condition: an argument of a process has 128 KiB at most, and so many
take 10 MB and a few milliseconds.
"""

_ENTRIES = literals_pb2.LiteralMap.LITERALS_FIELD_NUMBER

UNCOUNTED_BYTES = 16 * 1024
"""So few bytes are parsed without ado: a message has two at least, and 8,000 of them take a millisecond."""


class ByName(Protocol):
    """A map of literals by name: a flyteidl.core.LiteralMap, or `Literals`."""

    @property
    def literals(self) -> Mapping[str, literals_pb2.Literal]: ...


class Literals:
    """A flyteidl.core.LiteralMap that is not parsed: its literals by name, as they were written.

    `literals` reads like that field of the message; a literal is parsed each time it is asked for.
    """

    __slots__ = ("_raw",)

    def __init__(self, data: bytes | Mapping[str, Slice] = b"") -> None:
        """Raises CorruptBlob for bytes that are no such map. Inside literals only a small one is looked at."""
        if not isinstance(data, bytes):
            self._raw = dict(data)
        elif len(data) > UNCOUNTED_BYTES:
            self._raw = entries(whole(data))
        else:
            self._raw = _small(data)

    @property
    def raw(self) -> dict[str, Slice]:
        return self._raw

    @property
    def literals(self) -> Mapping[str, literals_pb2.Literal]:
        return _Parsed(self._raw)

    def encode(self) -> Encoded:
        """The same map as the same bytes, in whatever order it was filled."""
        pieces: list[bytes | memoryview] = []
        for name in sorted(self._raw):
            key, value = name.encode(), self._raw[name]
            head = b"\x0a%b%b\x12%b" % (varint(len(key)), key, varint(value.size))
            pieces += (b"\x0a%b%b" % (varint(len(head) + value.size), head), value.view())
        return Encoded(pieces)


def _small(data: bytes) -> dict[str, Slice]:
    """As `entries`, by protobuf's own parser: a tenth of the time, on bytes too few for its worst case to matter."""
    try:
        message = literals_pb2.LiteralMap.FromString(data)
    except DecodeError as error:
        raise CorruptBlob("its fields are not those of its kind") from error
    unknown = UnknownFieldSet(message)
    if len(unknown) and _ENTRIES in {unknown[at].field_number for at in range(len(unknown))}:
        raise CorruptBlob("an entry of a map has a field that is neither key nor value")  # the parser drops it
    literals = message.literals
    return {name: whole(literal.SerializeToString(deterministic=True)) for name, literal in literals.items()}


class _Parsed(Mapping[str, literals_pb2.Literal]):
    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[str, Slice]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> literals_pb2.Literal:
        literal = self._raw[name].tobytes()
        return parse(literals_pb2.Literal, literal, PARSED_MESSAGES, f"the value of {name!r}")

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)
