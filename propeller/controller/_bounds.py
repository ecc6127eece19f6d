"""The clusters in which this version of the controller may launch, while it is tried in some of them alone."""

from __future__ import annotations

from propeller.controller._clusters import Clusters


class Bounds:
    """All clusters of the table, until `confine` is called."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        self._names: frozenset[str] | None = None

    def confine(self, names: frozenset[str] | None) -> bool:
        """Launch only in these clusters from now on; None: in all. Returns whether that is a change."""
        before, self._names = self._names, names
        return names != before

    def obstacle(self, name: str | None) -> str:
        """Say why this version launches nothing in a cluster ("": that of the FlyteWorkflows); "" if it may."""
        if self._names is None or name in self._names:
            return ""
        members = (self._clusters.members.get(one) for one in self._names)
        if name == "" and any(member is not None and member.cluster is self._clusters.control for member in members):
            return ""
        tried = f"in {', '.join(sorted(self._names))} alone" if self._names else "no more"
        return f"it would go to {name or 'the cluster of its FlyteWorkflow'}, and this version is tried {tried}"
