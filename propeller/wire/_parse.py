"""Messages that are parsed, after those within them have been counted."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from propeller.errors import CorruptBlob
from propeller.wire._fields import Slice, fields, whole

M = TypeVar("M", bound=Message)

MAX_DEPTH = 100
"""Messages within each other: protobuf's own limit."""


class TooManyMessages(CorruptBlob):
    """A message holds more messages than are parsed."""


def parse(kind: type[M], data: bytes, most: int, what: str, setting: str = "") -> M:
    """The whole message, if it holds no more than `most` messages and texts of lists, a limit that `setting` names.

    Raises CorruptBlob, also for messages that nest deeper than protobuf's parsers go.
    """
    try:
        if len(data) > 2 * most:  # a message has two bytes at least
            count(data, kind.DESCRIPTOR, most)
        return kind.FromString(data)
    except TooManyMessages as error:
        hint = f" ({setting})" if setting else ""
        raise TooManyMessages(f"{what} ({len(data)} bytes) is not parsed: {error}{hint}") from error
    except (CorruptBlob, DecodeError) as error:
        raise CorruptBlob(f"{what} ({len(data)} bytes) is not a {kind.DESCRIPTOR.full_name}") from error


def count(data: bytes, kind: Any, most: int) -> int:
    """How many messages and texts of lists there are in a message of that kind (a descriptor), itself not counted.

    Raises CorruptBlob as soon as there are more than `most`, or more than `MAX_DEPTH` within each other.
    """
    counted = 0
    open_messages = [(fields(whole(data)), _table(kind))]
    while open_messages:
        walk, table = open_messages[-1]
        for tag, start, end in walk:
            if tag not in table:
                continue
            counted += 1
            if counted > most:
                raise TooManyMessages(f"it holds more than {most} messages")
            inner = table[tag]
            if inner is not None and end > start:
                if len(open_messages) >= MAX_DEPTH:
                    raise CorruptBlob(f"messages nest more than {MAX_DEPTH} deep")
                open_messages.append((fields(Slice(data, start, end)), _table(inner)))
                break
        else:
            open_messages.pop()
    return counted


@cache
def _table(kind: Any) -> dict[int, Any]:
    """By tag, the fields of a message that are messages (their kind) or repeated texts (None)."""
    return {
        field.number << 3 | 2: field.message_type
        for field in kind.fields
        if field.message_type is not None or (field.is_repeated and field.type in {field.TYPE_STRING, field.TYPE_BYTES})
    }
