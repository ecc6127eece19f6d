"""Which objects of a kind are followed."""

from __future__ import annotations

import msgspec

from propeller.informers._uid_shard import UidShard


class Selection(msgspec.Struct, frozen=True):
    """In a namespace (None: everywhere), by selectors, and of these one shard (None: all)."""

    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    shard: UidShard | None = None

    @property
    def shard_selector(self) -> str:
        return "" if self.shard is None else self.shard.selector
