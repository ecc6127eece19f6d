"""The wire format of protobuf, read without parsing: literals as slices of bytes, and how many messages bytes hold.

A parsed message takes up to a hundred times its bytes, and the parser keeps the interpreter's lock while it works. So
what tasks write is taken apart here by name, key or index, copied as bytes, and parsed only where it must be, after
its messages have been counted.

Guarantees
    What is read here means what protobuf's own parsers read, or is refused: groups, and single fields that occur twice,
    which no serializer writes, are.
    Nothing takes more memory than 16 bytes for an item of a list, and 200 for a name, up to `MAX_NAMES`.
    Loops are Python's, so that a thread that runs one lets the event loop run.
Errors
    CorruptBlob, whose text ends with what is wrong.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeVar

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError, Message

from propeller.errors import CorruptBlob, Invalid

M = TypeVar("M", bound=Message)

MAX_NAMES = 10_000
"""Fields of a message that is read by name: far more inputs or outputs than a task has, and 15 ms to read."""

MAX_DEPTH = 100
"""Messages within each other: protobuf's own limit."""

PARSED_MESSAGES = 50_000
"""Of one literal that is parsed for a command or condition: an argument of a process has 128 KiB at most, and so many
take 10 MB and a few milliseconds.
"""

UNCOUNTED_BYTES = 16 * 1024
"""So few bytes are parsed without ado: a message has two at least, and 8,000 of them take a millisecond."""

SCALAR, COLLECTION, MAP, HASH, OFFLOADED = 0x0A, 0x12, 0x1A, 0x22, 0x42
"""Tags of flyteidl.core.Literal's fields."""

FIRST, SECOND = 0x0A, 0x12
"""Tags of fields 1 and 2 where they are text, bytes or messages: `literals`, `value`; `key` and `value` of an entry."""

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
    """The one field of `tags` that a message has, as the members of a oneof; (0, nothing) where it has none."""
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
    """Which value a flyteidl.core.Literal has (a tag, 0 for none), and where it is."""
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
    """The value of one key, and up to `SHOWN_KEYS` of the other keys, for a message."""
    found, keys = None, dict[str, None]()
    for number, (tag, start, end) in enumerate(fields(of)):
        if number >= most:
            raise CorruptBlob(f"it has more than {most} entries")
        if tag == FIRST:
            key, value = _entry(Slice(of.data, start, end))
            if key == wanted:
                found = value
            elif len(keys) < SHOWN_KEYS:
                keys[key] = None
    return found, list(keys)


SHOWN_KEYS = 1000


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


class Encoded:
    """A message that is put together from pieces of others, which are copied once, by `tobytes`."""

    __slots__ = ("_pieces", "size")

    def __init__(self, pieces: Iterable[bytes | memoryview] = ()) -> None:
        self._pieces = list(pieces)
        self.size = sum(map(len, self._pieces))

    @classmethod
    def of(cls, value: bytes | Slice | Message) -> Encoded:
        match value:
            case Slice():
                return cls((value.view(),))
            case bytes():
                return cls((value,))
            case _:
                return cls((value.SerializeToString(deterministic=True),))

    def add(self, tag: int, value: Encoded | bytes | Slice | Message) -> Encoded:
        """Append a field; returns this message."""
        inner = value if isinstance(value, Encoded) else Encoded.of(value)
        head = _varint(tag) + _varint(inner.size)
        self._pieces.append(head)
        self._pieces += inner._pieces  # noqa: SLF001 - another one of ours
        self.size += len(head) + inner.size
        return self

    def require(self, most: int, what: str) -> Encoded:
        """This message, if it has no more than `most` bytes; raises Invalid."""
        if self.size > most:
            raise Invalid(f"{what} would have {self.size} bytes, over the limit of storage.max_blob_bytes, {most}")
        return self

    def tobytes(self) -> bytes:
        return b"".join(self._pieces)


_SHORT = [bytes((number,)) for number in range(128)]


def _varint(number: int) -> bytes:
    if number < 128:
        return _SHORT[number]
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


class TooManyMessages(CorruptBlob):
    """A message holds more others than are parsed."""


class ByName(Protocol):
    """What has literals by name: a flyteidl.core.LiteralMap, or `Literals`."""

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
            head = b"\x0a%b%b\x12%b" % (_varint(len(key)), key, _varint(value.size))
            pieces += (b"\x0a%b%b" % (_varint(len(head) + value.size), head), value.view())
        return Encoded(pieces)


def _small(data: bytes) -> dict[str, Slice]:
    """As `entries`, by protobuf's own parser: a tenth of the time, where its worst does not matter."""
    try:
        literals = literals_pb2.LiteralMap.FromString(data).literals
    except DecodeError as error:
        raise CorruptBlob("its fields are not those of its kind") from error
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
