"""One step of an attribute path, into a map or a list that is not parsed."""

from __future__ import annotations

from propeller.errors import Invalid
from propeller.wire import MAX_OTHER_KEYS, Slice, entry, item


def entry_at(of: Slice, key: str | int, at: str, most: int) -> Slice:
    """The value of a key of a map; raises Invalid."""
    found, keys = entry(of, str(key), most)
    if not isinstance(key, str):
        raise Invalid(f"{at} takes item {key} of a map, whose keys are text: {_some(keys)}")
    if found is None:
        raise Invalid(f"{at} does not exist: the keys are {_some(keys)}")
    return found


def item_at(of: Slice, index: str | int, at: str, most: int) -> Slice:
    """An item of a list; raises Invalid."""
    if not isinstance(index, int):
        raise Invalid(f"{at} takes attribute {index!r} of a list")
    found, count = item(of, index, most)
    if found is None:
        raise Invalid(f"{at} does not exist: the list has {count} items, counted from 0")
    return found


def _some(keys: list[str]) -> str:
    """Keys for a message: not more than one reads."""
    shown = sorted(map(repr, keys))
    more = f" and {len(shown) - 20}{' or' * (len(keys) == MAX_OTHER_KEYS)} more" if len(shown) > 20 else ""
    return ", ".join(text[:100] for text in shown[:20]) + more
