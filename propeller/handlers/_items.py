"""The lists that a map task runs over: how many items they have, and each item's share.

A map task of 10,000 items has all of them in one inputs.pb, which takes a millisecond to parse: too much to do for each
item, so that the last few are kept parsed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from propeller.errors import CorruptBlob, Invalid
from propeller.handlers._together import together
from propeller.storage import Storage, read_offloaded

KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of inputs that are kept parsed, which takes several times their size."""


class Items:
    """Reads the inputs of map tasks, with the lists that were offloaded for their size put back in."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._parsed: OrderedDict[str, tuple[bytes, literals_pb2.LiteralMap]] = OrderedDict()

    async def read(self, uri: str, bound: Collection[str]) -> literals_pb2.LiteralMap:
        """The inputs of a map task, not to be changed. Raises CorruptBlob and what storage raises."""
        data = await self._storage.read(uri)
        kept = self._parsed.get(uri)
        if kept is not None and kept[0] is data:
            self._parsed.move_to_end(uri)
            return kept[1]
        try:
            inputs = literals_pb2.LiteralMap.FromString(data)
        except DecodeError as error:
            raise CorruptBlob(f"{uri} ({len(data)} bytes) is not a flyteidl.core.LiteralMap") from error
        whole = await self.expanded(inputs, bound)
        self._parsed[uri] = data, whole
        while sum(len(data) for data, _ in self._parsed.values()) > KEPT_BYTES:
            self._parsed.popitem(last=False)
        return whole

    async def expanded(self, inputs: literals_pb2.LiteralMap, bound: Collection[str]) -> literals_pb2.LiteralMap:
        """The inputs with every offloaded literal in them that may be a list to run over."""
        away = [
            name
            for name, literal in inputs.literals.items()
            if name not in bound and literal.HasField("offloaded_metadata")
        ]
        if not away:
            return inputs
        found = await together(read_offloaded(self._storage, inputs.literals[name]) for name in away)
        whole = literals_pb2.LiteralMap()
        whole.CopyFrom(inputs)
        for name, literal in zip(away, found, strict=True):
            whole.literals[name].CopyFrom(literal)
        return whole


def count_items(inputs: literals_pb2.LiteralMap, bound: Collection[str]) -> int:
    """How many items a map task over these inputs has: 1 where all are bound. Raises Invalid."""
    sizes = {name: len(inputs.literals[name].collection.literals) for name in sorted(_lists(inputs, bound))}
    if len(set(sizes.values())) > 1:
        raise Invalid(f"the lists that a map task runs over have different lengths: {sizes}")
    if sizes:
        return next(iter(sizes.values()))
    if len(bound) == len(inputs.literals):
        return 1
    raise Invalid("a map task needs a list among its inputs; there is none")


def item_of(inputs: literals_pb2.LiteralMap, index: int, bound: Collection[str]) -> literals_pb2.LiteralMap:
    """One item's share: the index-th of each list that is not bound, everything else as it is. Raises Invalid."""
    own = literals_pb2.LiteralMap()
    lists = _lists(inputs, bound)
    for name, literal in inputs.literals.items():
        if name in lists:
            items = literal.collection.literals
            if index >= len(items):
                raise Invalid(f"item {index} of a map task does not exist: list {name!r} has {len(items)}")
            own.literals[name].CopyFrom(items[index])
        else:
            own.literals[name].CopyFrom(literal)
    return own


def _lists(inputs: literals_pb2.LiteralMap, bound: Collection[str]) -> set[str]:
    return {name for name, literal in inputs.literals.items() if name not in bound and literal.HasField("collection")}
