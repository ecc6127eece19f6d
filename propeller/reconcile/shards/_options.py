"""How processes divide shards. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class ShardOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How processes divide shards."""

    handover: float = 1.0
    """Seconds that a process has to end what is under way for a shard that it gives up: requests, and writes of
    progress. The rest is dropped as by a crash, and found again by the next process. The shard stands still meanwhile,
    so not much more; 500 writes take about that long.
    """

    level_interval: float = 60.0
    """Seconds between two looks at whether shards should move for their load alone. Members that come or go are seen at
    once. A move costs a second of pause, so not much less."""

    active: int = 0
    """Members that get shards; the others stand by, connected, and take the shards of one that is gone. 0: all."""

    def __post_init__(self) -> None:
        if not (self.handover >= 0 and self.level_interval >= 1 and self.active >= 0):
            raise ValueError(
                "handover and active must be 0 or more, level_interval at least 1; they are "
                f"{self.handover}, {self.active} and {self.level_interval}"
            )
