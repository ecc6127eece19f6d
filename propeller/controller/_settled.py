"""Drop the pods of a large map's items from the cache once a status has their end.

A cached pod takes almost 2 KB, and a map task may have 100,000. Their ended pods stay on the server until the workflow
is deleted.

Guarantees
    Dropped are only pods that have ended, of items that have succeeded, after a status that says so was written:
    nothing of the execution asks for them again. Pods with finalizers stay, and all if there is a routing table.
Caveats
    A list brings them back into the cache, until the workflow is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from propeller.controller._attempt_events import owner_uids
from propeller.controller._clusters import Clusters
from propeller.controller._session import Running
from propeller.handlers.plugins.pod import has_ended
from propeller.workflow import NodePhase, NodeView

LARGE = 1_000
"""Items of a map task from which on their pods are dropped: fewer are not worth it."""

MAX_AT_ONCE = 5_000
"""Pods that are dropped after one write of a status: 20 ms. The others are after the next one."""


def note(session: Running, ended: Iterable[NodeView]) -> None:
    """Remember the items of large maps that have just succeeded."""
    for view in ended:
        if view.frame.items and len(view.frame.graph.nodes) > LARGE:
            session.settled.append(view.number)


def take(session: Running) -> Sequence[int]:
    """Return items whose end the status has that is written next."""
    taken = session.settled[:MAX_AT_ONCE]
    del session.settled[:MAX_AT_ONCE]
    return taken


def drop(session: Running, items: Iterable[int], clusters: Clusters) -> None:
    """Drop the pods of items whose end is in a status that was written."""
    execution, pods = session.execution, clusters.control.resources.pods
    if clusters.members or execution.placements is not None:
        return
    for node in items:
        if execution.phases[node] != NodePhase.SUCCEEDED or node in execution.stops.pods:
            continue
        name = execution.pod_name(node, execution.attempts[node])
        key = f"{execution.info.namespace}/{name}"
        pod = pods.store.get(key)
        if pod is None or not has_ended(pod) or pod.metadata.finalizers or session.uid not in owner_uids(pod):
            continue
        pods.forget(key)
        if name not in session.same_name:
            session.nodes_by_name.pop(name, None)
