"""Where the routing table is."""

from __future__ import annotations

import msgspec


class RoutingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which cluster an execution runs on (docs/routing.md). Without a table all run on the cluster of their
    FlyteWorkflows, and nothing is spent on it.
    """

    file: str = ""
    """A file with the table, YAML or JSON, read again when it changes; a ConfigMap that is mounted, say."""

    table: str = ""
    """The name of the RoutingTable that has it, in place of a file."""

    file_interval: float = 1.0
    """Seconds between two looks at whether the file has changed. It is read once it has stayed the same from one look
    to the next, so that a file which is being written is not read in halves.
    """

    status_interval: float = 1.0
    """Seconds between two writes of the RoutingTable's status, which is written only if it has changed. As often as
    people who watch it read; a write costs the API server a few ms.
    """

    def __post_init__(self) -> None:
        if self.file and self.table:
            raise ValueError("file and table are both set: name one of them")
        for field in ("file_interval", "status_interval"):
            if not getattr(self, field) >= 0.1:
                raise ValueError(f"{field} must be at least 0.1, and is {getattr(self, field)}")
