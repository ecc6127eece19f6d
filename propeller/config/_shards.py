"""How processes divide FlyteWorkflows among them. Units are in the docstrings."""

from __future__ import annotations

import re

from propeller.reconcile.shards._options import ShardOptions

MAX_CLUSTERS = 16
"""With a shard of their own: each costs watches in all clusters."""

MAX_NAME = 55
"""Characters: with `cluster-` before it the name is a label's value."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def group_beside(lease: str) -> str:
    """The name of the group of processes that divide what otherwise the holder of that lease does."""
    return f"{lease}-shards"


class WorkflowShardOptions(ShardOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How several `propeller controller` divide the FlyteWorkflows of a cluster (docs/scale.md)."""

    count: int = 0
    """Shards of workflows with a shard key, 1 to 32; those without one are in a shard more. 0: one process does
    everything, the others stand by. 16 divide well among up to 8 processes. Each shard costs its process a list and a
    watch of workflows and one of pods, and the API server a look at each event for each of these watches, so not more
    than needed. All members have the same number: to change it, stop them all.
    """

    clusters: tuple[str, ...] = ()
    """Clusters of the routing table whose executions are in a shard of their own, those that are to run a new version
    first before others: `propeller rollout` then goes by clusters (docs/scale.md). Each is a shard more, and each of
    its new executions costs one small write. All members have the same: to change them, stop them all.
    """

    version: str = ""
    """What `propeller rollout` calls this controller. "": the version of the package and a digest of the settings, so
    that other settings are another version.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.version) > 63 or self.version != self.version.strip() or not self.version.isprintable():
            raise ValueError(f"version must be 63 printable characters at most, and is {self.version!r}")
        if not 0 <= self.count <= 32:
            raise ValueError(f"count must be 0 to 32, as FlyteAdmin has 32 shard keys, and is {self.count}")
        if self.clusters and not self.count:
            raise ValueError(f"clusters needs count, as workflows are not divided without it; it is {self.clusters}")
        if len(self.clusters) > MAX_CLUSTERS or len(set(self.clusters)) < len(self.clusters):
            raise ValueError(f"clusters must be {MAX_CLUSTERS} different names at most, and is {self.clusters}")
        if wrong := [name for name in self.clusters if len(name) > MAX_NAME or not _NAME.fullmatch(name)]:
            raise ValueError(
                f"clusters must be names of the routing table, of {MAX_NAME} characters at most; these are not: {wrong}"
            )
