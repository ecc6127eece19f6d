"""One of several equal parts of a kind's objects, by a hash of their uids: for informers that share a kind.

Guarantees
    Every object is in exactly one of the `of` parts, for ever: its uid does not change.
    A server with sharded lists and watches (KEP-5866, feature gate ShardedListAndWatch) sends that part alone; any
    other sends everything, and the informer filters. A list says which of the two it was.
"""

from __future__ import annotations

import msgspec

from propeller.errors import Invalid
from propeller.fnv import fnv1a_64

_SPACE = 1 << 64


class UidShard(msgspec.Struct, frozen=True):
    """Part `number` (from 0) of `of`. Raises Invalid if there is no such part."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise Invalid(f"there is no shard {self.number} of {self.of}: shards count from 0")

    @property
    def bounds(self) -> tuple[int, int]:
        """The first hash of the part, and the first after it."""
        return self.number * _SPACE // self.of, (self.number + 1) * _SPACE // self.of

    @property
    def selector(self) -> str:
        """As a request's `shardSelector`."""
        first, end = self.bounds
        return f"shardRange(object.metadata.uid, '0x{first:016x}', '0x{end:016x}')"

    def holds(self, uid: str) -> bool:
        first, end = self.bounds
        return first <= fnv1a_64(uid.encode()) < end
