"""Messages put together from pieces of others."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from propeller.errors import Invalid
from propeller.wire._fields import Slice


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
        head = varint(tag) + varint(inner.size)
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


def varint(number: int) -> bytes:
    if number < 128:
        return _SHORT[number]
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
