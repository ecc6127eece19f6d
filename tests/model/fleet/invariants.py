"""What must hold of shards and placements, by name. Each is checked where it can break."""

from __future__ import annotations

from typing import Final

ONE_ACTOR: Final = "no two act for one execution"
"""When a request that changes something is sent, the shard map has its sender as the shard's holder."""

RUNS_ONCE: Final = "no attempt runs twice"
"""No pod is created under a name that its cluster has had before and has not forgotten."""

ONE_CLUSTER: Final = "no attempt runs in two clusters"
"""No pod is created under a name that another cluster has had, and has not forgotten."""

WRITTEN_FIRST: Final = "a status says where, before anything is launched there"

ISOLATED: Final = "a pool never sees a stranger"

STATUS_KEPT: Final = "no status is overwritten unseen"
"""A status is written onto the one that it was computed from."""

LOSERS_LOSE: Final = "an attempt that was given up never counts"
"""Once a status has a later attempt, or an end, no other attempt is counted, and none is launched that follows it."""

QUIET: Final = "nothing is left at the end"
"""When nothing more can happen by itself, the execution has ended, a living member holds its shard, and nothing runs in
a cluster that answers."""
