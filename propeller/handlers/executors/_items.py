"""The lists that a map task runs over: how many items they have, and each item's share.

A map task of 100,000 items has all of them in one inputs.pb. Where each begins and ends is found once, in a few tens of
milliseconds, and kept for the last few map tasks, so that an item's share is a copy of its bytes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping

from propeller.errors import Invalid
from propeller.handlers.executors._gather import gather
from propeller.storage import Storage, in_thread_if_large, literals_of, read_offloaded
from propeller.wire import COLLECTION, OFFLOADED, Items, Literals, Slice, fields, value_of

CACHE_BYTES = 16 * 1024 * 1024
"""Bytes of inputs whose items are kept apart, which takes 16 bytes for each item besides."""

COUNTED_ITEMS = 10_000_000
"""Of a list that is too long: so far it is counted for the message, a second in a thread."""


class InvalidArrayLength(Invalid):
    """The lists that a map task runs over have different lengths, there is none, or it is too long (Flyte's code)."""


class Shares:
    """The inputs of a map task: the lists that it runs over, and the inputs that all items share."""

    def __init__(self, rest: Mapping[str, Slice], lists: Mapping[str, Items]) -> None:
        self._rest = rest
        self._lists = lists

    def count(self, bound: Collection[str]) -> int:
        """Return the number of items; 1 if all inputs are bound. Raises Invalid."""
        sizes = {name: len(self._lists[name]) for name in sorted(self._lists)}
        if len(set(sizes.values())) > 1:
            raise InvalidArrayLength(f"the lists that a map task runs over have different lengths: {sizes}")
        if sizes:
            return next(iter(sizes.values()))
        if len(bound) == len(self._rest):
            return 1
        raise InvalidArrayLength("a map task needs a list among its inputs; there is none")

    def of_item(self, index: int) -> Literals:
        """Return one item's share: the index-th element of each list that is not bound, and all other inputs. Raises
        Invalid.
        """
        own = dict(self._rest)
        for name, items in self._lists.items():
            if index >= len(items):
                raise Invalid(f"item {index} of a map task does not exist: list {name!r} has {len(items)}")
            own[name] = items[index]
        return Literals(own)


class ItemInputs:
    """Reads the inputs of map tasks, including lists that were offloaded for their size."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: OrderedDict[str, tuple[bytes, Shares]] = OrderedDict()
        self._splitting: dict[str, asyncio.Lock] = {}

    async def read(self, uri: str, bound: Collection[str]) -> Shares:
        """Read the inputs of a map task. Raises CorruptBlob, Invalid and what storage raises."""
        data = await self._storage.read(uri)
        if (found := self._known(uri, data)) is not None:
            return found
        async with self._splitting.setdefault(uri, asyncio.Lock()):  # the first items all ask at the same time
            if (found := self._known(uri, data)) is not None:
                return found
            try:
                shares = await self.split(literals_of(data, uri), bound)
                self._kept[uri] = data, shares
            finally:
                self._splitting.pop(uri, None)
        while sum(len(data) for data, _ in self._kept.values()) > CACHE_BYTES:
            self._kept.popitem(last=False)
        return shares

    def _known(self, uri: str, data: bytes) -> Shares | None:
        kept = self._kept.get(uri)
        if kept is None or kept[0] != data:
            return None
        self._kept.move_to_end(uri)
        return kept[1]

    async def split(self, inputs: Literals, bound: Collection[str]) -> Shares:
        """Split inputs into lists and the rest. Raises Invalid for a list over `storage.max_map_items`."""
        unbound = {name: literal for name, literal in inputs.raw.items() if name not in bound}
        away = [name for name, literal in unbound.items() if value_of(literal)[0] == OFFLOADED]
        found = await gather(read_offloaded(self._storage, unbound[name]) for name in away)
        unbound |= zip(away, found, strict=True)
        lists = {name: value for name, literal in unbound.items() if (value := _list_in(literal)) is not None}
        rest = inputs.raw | {name: unbound[name] for name in away}
        most = self._storage.settings.max_map_items
        return Shares(
            {name: literal for name, literal in rest.items() if name not in lists},
            {name: await in_thread_if_large(value.size, _items, name, value, most) for name, value in lists.items()},
        )


def _list_in(literal: Slice) -> Slice | None:
    kind, value = value_of(literal)
    return value if kind == COLLECTION else None


def _items(name: str, value: Slice, most: int) -> Items:
    items = Items(value, most)
    if len(items) > most:
        count = 0
        for count, _ in enumerate(fields(value), 1):
            if count >= COUNTED_ITEMS:
                break
        more = "or more " if count >= COUNTED_ITEMS else ""
        raise InvalidArrayLength(
            f"a map task over {name!r} would have {count} {more}items; storage.max_map_items allows {most}: "
            "run it over a list of lists, or raise the setting"
        )
    return items
