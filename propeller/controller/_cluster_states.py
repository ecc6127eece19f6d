"""What is known of each cluster: health, load, and, for decisions, whether quotas have room.

Guarantees
    If quotas of a namespace have no room left in a cluster, decisions about it prefer others that have some. If none
    has, they are made as if all had: the attempt then waits in the turns of one quota.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from propeller.controller._clusters import Clusters
from propeller.routing import ClusterState, Placement, Subject, Table, Waiting, decide
from propeller.workflow import Execution


def decide_with_quotas(
    table: Table, subject: Subject, clusters: Clusters, execution: Execution, current: str = ""
) -> Placement | Waiting:
    """`decide` where the execution, or an attempt of it, goes. `current` is the cluster that the execution has."""
    states = ClusterStates(clusters, execution.info.namespace)
    found = decide(table, subject, states, current)
    if isinstance(found, Waiting) and states.any_full:
        return decide(table, subject, ClusterStates(clusters), current)
    return found


class _States(Mapping[str, ClusterState]):
    """The states of the table's clusters, each made when it is asked for."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    def __iter__(self) -> Iterator[str]:
        return iter(self._clusters.members)

    def __len__(self) -> int:
        return len(self._clusters.members)


class ClusterStates(_States):
    """The states as `decide` reads them: of health only what this process sees. With a namespace they say also whether
    its quotas have room.
    """

    def __init__(self, clusters: Clusters, namespace: str = "") -> None:
        super().__init__(clusters)
        self._namespace = namespace
        self.any_full = False
        """Whether a quota without room was met."""

    def __getitem__(self, name: str) -> ClusterState:
        member = self._clusters.members[name]
        full = member.full(self._namespace) if self._namespace else ""
        self.any_full |= bool(full)
        return ClusterState(
            healthy=member.circuit.healthy,
            reason=member.trouble,
            pods=member.all_pods,
            executions=member.all_executions,
            full=full,
        )


class GroupStates(_States):
    """How the clusters are to all processes together."""

    def __getitem__(self, name: str) -> ClusterState:
        member = self._clusters.members[name]
        trouble = member.any_trouble
        return ClusterState(healthy=not trouble, reason=trouble, pods=member.all_pods, executions=member.all_executions)
