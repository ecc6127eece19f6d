"""Fields of a message, by tag, name, key or index: slices of its bytes, none of which is copied."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from propeller.errors import CorruptBlob

MAX_NAMES = 10_000
"""Fields of a message that is read by name: far more inputs or outputs than a task has, and 15 ms to read."""

SCALAR, COLLECTION, MAP, HASH, OFFLOADED = 0x0A, 0x12, 0x1A, 0x22, 0x42
"""Tags of flyteidl.core.Literal's fields."""

FIRST, SECOND = 0x0A, 0x12
"""Tags of fields 1 and 2 if they are text, bytes or messages: `literals`, `value`; `key` and `value` of an entry."""

_MAX_TAG = 2**32 - 1
_MAX_LENGTH = 2**31 - 1
_FIXED = {1: 8, 5: 4}


class Slice(NamedTuple):
    """Bytes from `start` to `end` of `data`; nothing is copied."""

    data: bytes
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def tobytes(self) -> bytes:
        return self.data if self.size == len(self.data) else self.data[self.start : self.end]

    def view(self) -> bytes | memoryview:
        return self.data if self.size == len(self.data) else memoryview(self.data)[self.start : self.end]


def whole(data: bytes) -> Slice:
    return Slice(data, 0, len(data))


EMPTY = whole(b"")


def fields(of: Slice) -> Iterator[tuple[int, int, int]]:
    """Tag, start and end of each field's value, in their order."""
    data, position, end = of
    try:
        while position < end:
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = _long(data, tag, position)
            kind = tag & 7
            if kind == 2:
                length = data[position]
                position += 1
                if length > 127:
                    length, position = _long(data, length, position)
                start, position = position, position + length
                if length > _MAX_LENGTH:
                    raise CorruptBlob(f"a field has {length} bytes")
            elif kind == 0:
                start = position
                _, position = _long(data, data[position], position + 1)
            elif kind in _FIXED:
                start, position = position, position + _FIXED[kind]
            else:
                raise CorruptBlob(f"a field is of wire type {kind}")
            if position > end:
                break
            if not 7 < tag <= _MAX_TAG:
                raise CorruptBlob(f"a field has the number {tag >> 3}")
            yield tag, start, position
    except IndexError:
        position = end + 1
    if position > end:
        raise CorruptBlob("a field goes on beyond the end")


def _long(data: bytes, value: int, position: int) -> tuple[int, int]:
    """A varint that begins with the byte `value`, before `position`; and the position after it."""
    if value < 128:
        return value, position
    value &= 127
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise CorruptBlob("a number has more than ten bytes")


def only(of: Slice, tags: Iterable[int]) -> tuple[int, Slice]:
    """The one field of `tags` that a message has, as the members of a oneof; (0, nothing) if it has none."""
    wanted, found, at = frozenset(tags), 0, EMPTY
    for number, (tag, start, end) in enumerate(fields(of)):
        if number >= MAX_NAMES:
            raise CorruptBlob(f"a message has more than {MAX_NAMES} fields")
        if tag in wanted:
            if found:
                raise CorruptBlob("a field that may occur once occurs twice")
            found, at = tag, Slice(of.data, start, end)
    return found, at


_LITERAL_VALUES = frozenset({SCALAR, COLLECTION, MAP, OFFLOADED})


def value_of(literal: Slice) -> tuple[int, Slice]:
    """The tag of the value that a flyteidl.core.Literal has (0 for none), and its bytes."""
    return only(literal, _LITERAL_VALUES)


def text(of: Slice) -> str:
    try:
        return of.tobytes().decode()
    except UnicodeDecodeError as error:
        raise CorruptBlob("a text is not UTF-8") from error


def entries(of: Slice, most: int = MAX_NAMES) -> dict[str, Slice]:
    """The values of a map whose keys are text, and which is field 1 of its message. Of one key the last counts."""
    found: dict[str, Slice] = {}
    for number, (tag, start, end) in enumerate(fields(of)):
        if number >= most:
            raise CorruptBlob(f"it has more than {most} entries")
        if tag == FIRST:
            key, value = _entry(Slice(of.data, start, end))
            found[key] = value
    return found


def entry(of: Slice, wanted: str, most: int) -> tuple[Slice | None, list[str]]:
    """The value of one key, and up to `MAX_OTHER_KEYS` of the other keys, for a message."""
    found, keys = None, dict[str, None]()
    for number, (tag, start, end) in enumerate(fields(of)):
        if number >= most:
            raise CorruptBlob(f"it has more than {most} entries")
        if tag == FIRST:
            key, value = _entry(Slice(of.data, start, end))
            if key == wanted:
                found = value
            elif len(keys) < MAX_OTHER_KEYS:
                keys[key] = None
    return found, list(keys)


MAX_OTHER_KEYS = 1000


def _entry(of: Slice) -> tuple[str, Slice]:
    key, value = EMPTY, EMPTY
    for number, (tag, start, end) in enumerate(fields(of)):
        if number >= MAX_NAMES:
            raise CorruptBlob(f"an entry of a map has more than {MAX_NAMES} fields")
        if tag == FIRST:
            key = Slice(of.data, start, end)
        elif tag == SECOND:
            if value is not EMPTY:
                raise CorruptBlob("the value of a map's entry occurs twice")
            value = Slice(of.data, start, end)
        else:
            raise CorruptBlob("an entry of a map has a field that is neither key nor value")  # some parsers drop it
    return text(key), value


def item(of: Slice, index: int, most: int) -> tuple[Slice | None, int]:
    """The item of that index of a list, which is field 1 of its message; and how many there are if it has none."""
    number = 0
    for tag, start, end in fields(of):
        if tag == FIRST:
            if number == index:
                return Slice(of.data, start, end), number + 1
            number += 1
            if number > most:
                raise TooMany(most)
    return None, number


class Items:
    """The items of a list, which is field 1 of its message: 16 bytes each, whatever they hold. One more than `most` if
    there are more.
    """

    __slots__ = ("_data", "_ends", "_starts")

    def __init__(self, of: Slice, most: int) -> None:
        self._data = of.data
        self._starts = array("Q")
        self._ends = array("Q")
        for tag, start, end in fields(of):
            if tag == FIRST:
                self._starts.append(start)
                self._ends.append(end)
                if len(self._ends) > most:
                    break

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Slice:
        return Slice(self._data, self._starts[index], self._ends[index])

    def __iter__(self) -> Iterator[Slice]:
        return (Slice(self._data, start, end) for start, end in zip(self._starts, self._ends, strict=True))


class TooMany(CorruptBlob):
    """A list has more items than are taken."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a list has more than {most} items")
