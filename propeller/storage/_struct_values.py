"""Attribute paths through protobuf structs, in which flytekit before 1.14 stores dataclasses, and untyped dicts."""

from __future__ import annotations

from collections.abc import Sequence

from propeller.errors import Invalid
from propeller.storage._levels import entry_at, item_at
from propeller.wire import COLLECTION, FIRST, MAX_DEPTH, SCALAR, Encoded, Items, Slice, only, whole

NULL, NUMBER, TEXT, BOOLEAN, STRUCT, LIST = 0x08, 0x11, 0x1A, 0x20, 0x2A, 0x32
_KINDS = {
    NULL: "null_value",
    NUMBER: "number_value",
    TEXT: "string_value",
    BOOLEAN: "bool_value",
    STRUCT: "struct_value",
    LIST: "list_value",
}
"""By tag, the values that a google.protobuf.Value may have."""

_GENERIC = 0x3A
_NONE_TYPE = b"\x2a\x00"


def inside_struct(struct: Slice, path: Sequence[tuple[str | int, str]], name: str, most: int) -> Slice:
    """Return what a path (values, and how they are written) leads to in a struct, as a literal. Raises Invalid."""
    kind, value = STRUCT, struct
    for attribute, written in path:
        name += written
        if kind == STRUCT:
            found = entry_at(value, attribute, name, most)
        elif kind == LIST:
            found = item_at(value, attribute, name, most)
        else:
            raise Invalid(f"{name} leads into a {_KINDS.get(kind, 'value without a kind')}, which has no attributes")
        kind, value = only(found, _KINDS)
    return whole(_literal(kind, value, name, 0, [most]).tobytes())


def _literal(kind: int, value: Slice, name: str, depth: int, left: list[int]) -> Encoded:
    """A value as a literal: lists as collections, with `left` items at most in all."""
    if depth > MAX_DEPTH:
        raise Invalid(f"{name} nests more than {MAX_DEPTH} lists")
    if kind == LIST:
        items = Items(value, left[0])
        left[0] -= len(items)
        if left[0] < 0:
            raise Invalid(f"{name} leads to lists of more items than storage.max_messages allows")
        collection = Encoded()
        for item in items:
            collection.add(FIRST, _literal(*only(item, _KINDS), name, depth + 1, left))
        return Encoded().add(COLLECTION, collection)
    if kind == STRUCT:
        return Encoded().add(SCALAR, Encoded().add(_GENERIC, value))
    if kind == TEXT:
        primitive = Encoded().add(TEXT, value)  # the tag is the same in a Primitive
    elif kind in {NUMBER, BOOLEAN}:
        raw = value.tobytes()
        primitive = Encoded((b"\x11" + raw if kind == NUMBER else b"\x20" + bytes((any(b & 127 for b in raw),)),))
    else:
        return Encoded().add(SCALAR, _NONE_TYPE)
    return Encoded().add(SCALAR, Encoded().add(FIRST, primitive))
