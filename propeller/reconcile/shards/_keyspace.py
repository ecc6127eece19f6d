"""Divide the objects of a kind into shards, each of which a list or watch can select.

Guarantees
    Every object is in exactly one shard. Objects without the label, or with a value that is no key, are in the last
    shard of `LabelShards`: none is left out.
Caveats
    An object whose label changes leaves its shard like a deleted one, and appears in another one like a new one. So the
    label is set when an object is created, and what it owns gets the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from propeller.errors import Invalid
from propeller.fnv import fnv1a_32
from propeller.informers import Selection


class Keyspace(Protocol):
    """How objects are divided."""

    @property
    def count(self) -> int:
        """Shards, numbered from 0."""

    def selection(self, shard: int) -> Selection:
        """What a list or watch of that shard's objects asks for; its namespace is None."""


class LabelShards(msgspec.Struct, frozen=True):
    """By a label whose values are the numbers 0 to `keys - 1`, in `groups` of about equal size, one shard more for all
    other objects, and then one for each value of `named`. FlyteAdmin labels its resources so: `shard-key`, 32 of them,
    by the execution's name (v1alpha1.ShardKeyspaceSize). FlytePropeller's manager divides the keys in the same way, and
    runs no others.

    Raises Invalid for no group, or more than there are keys, and for names that are not as `named` says.
    """

    label: str
    keys: int
    groups: int
    named: tuple[str, ...] = ()
    """Other values, each different and no number."""

    def __post_init__(self) -> None:
        if not 0 < self.groups <= self.keys:
            raise Invalid(f"{self.keys} values of label {self.label} make 1 to {self.keys} shards, not {self.groups}")
        if len(set(self.named)) < len(self.named) or not all(name and not name.isdecimal() for name in self.named):
            raise Invalid(f"shards need names that differ, and that are no numbers, not {list(self.named)}")

    @property
    def count(self) -> int:
        return self.groups + 1 + len(self.named)

    @property
    def rest(self) -> int:
        """The shard of objects without a key."""
        return self.groups

    def key_of(self, name: str) -> str:
        """The label's value of an object that is created: the 32-bit FNV-1a hash of a name that never changes."""
        return str(fnv1a_32(name.encode()) % self.keys)

    def of(self, labels: Mapping[str, str] | None) -> int:
        """The shard of an object with these labels."""
        value = (labels or {}).get(self.label, "")
        if value in self.named:
            return self.rest + 1 + self.named.index(value)
        if not (value.isascii() and value.isdecimal() and len(value) <= len(str(self.keys))):
            return self.rest
        key = int(value)
        if key >= self.keys or value != str(key):  # 07 is not 7 to a selector
            return self.rest
        return key * self.groups // self.keys

    def name_of(self, labels: Mapping[str, str] | None) -> str:
        """The name of the shard of an object with these labels; "" if it has none."""
        value = (labels or {}).get(self.label, "")
        return value if value in self.named else ""

    def keys_of(self, shard: int) -> list[str]:
        """The label's values of a shard; those that are in no key's, for the rest."""
        if not 0 <= shard < self.count:
            raise Invalid(f"shards are 0 to {self.count - 1}, not {shard}")
        if shard == self.rest:
            return [*map(str, range(self.keys)), *self.named]
        if shard > self.rest:
            return [self.named[shard - self.rest - 1]]
        return [str(key) for key in range(self.keys) if self.of({self.label: str(key)}) == shard]

    def selection(self, shard: int) -> Selection:
        operator = "notin" if shard == self.rest else "in"  # objects without a label are `notin` any values
        return Selection(label_selector=f"{self.label} {operator} ({','.join(self.keys_of(shard))})")
