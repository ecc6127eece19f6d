"""Cached outputs as a blob: an outputs.pb as tasks write it, with one more field that says where they come from.

Readers of outputs.pb skip fields that they do not know, so that a cached entry is copied by the object store itself,
and the copy still says which execution computed it.
"""

from __future__ import annotations

import msgspec

from propeller.catalog._key import Key
from propeller.clock import rfc3339
from propeller.decoding import UNDECODABLE
from propeller.errors import CorruptBlob
from propeller.wire import Literals, Slice, fields, whole

ORIGIN = (1000 << 3) | 2
"""Tag of the field with the origin, in JSON: flyteidl.core.LiteralMap has one field, number 1."""

MAX_ORIGIN_BYTES = 1 << 20
"""Of an origin that is read: one of 10,000 inputs has less."""


class Origin(msgspec.Struct, frozen=True, rename="camel"):
    """Where outputs come from: what was computed, by which attempt, and when (epoch seconds)."""

    key: Key
    execution: str
    """`namespace/name` of its resource."""
    uid: str
    node: str
    """Its id that is unique in the execution."""
    attempt: int
    task_version: str
    created: float

    @property
    def at(self) -> str:
        """`created` for people, within the years that have such a form."""
        return rfc3339(max(0.0, min(self.created, 4e9)))


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Origin)


def encode_entry(outputs: Literals, origin: Origin, most: int, uri: str) -> bytes:
    """The blob of an entry. Raises Invalid if it would have more than `most` bytes."""
    return outputs.encode().add(ORIGIN, whole(_ENCODER.encode(origin))).require(most, uri).tobytes()


def origin_of(data: bytes) -> Origin | None:
    """Where the outputs in a blob come from; None if it does not say. Raises CorruptBlob."""
    found: Slice | None = None
    for tag, start, end in fields(whole(data)):
        if tag == ORIGIN:
            found = Slice(data, start, end)
    if found is None:
        return None
    if found.size > MAX_ORIGIN_BYTES:
        raise CorruptBlob(f"its origin has {found.size} bytes, over {MAX_ORIGIN_BYTES}")
    try:
        return _DECODER.decode(found.tobytes())
    except UNDECODABLE as error:
        raise CorruptBlob(f"its origin does not decode: {error}") from error
