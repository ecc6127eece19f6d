"""Resources of attempts in another cluster than their FlyteWorkflow's: labels in the place of an owner reference.

An owner reference names an object of the same cluster: the garbage collector of another one would delete the pod, as
it does not find its owner. So these carry labels and an annotation that say whose they are, and the controller deletes
them itself once their workflow is gone.

Guarantees
    Of a resource with owner references only those count: its own cluster's controllers own it.
    Pods have a finalizer as well, so that their end can be read whoever deletes them; the controller removes it.
    Nobody but the controller sets these labels by a task or a workflow: all of `propeller/` are removed from theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from propeller.kube import KubeObject
from propeller.workflow import ExecutionInfo

CONTROL_LABEL = "propeller/control"
"""Which cluster's FlyteWorkflows the resource belongs to: several may run their attempts in one cluster."""

CLUSTER_LABEL = "propeller/cluster"
"""The name of the cluster that it was made for: two names may lead to one cluster."""

WORKFLOW_UID_LABEL = "propeller/workflow-uid"
WORKFLOW_ANNOTATION = "propeller/workflow"
"""The workflow's name. No label, as it may be longer than one."""

HOLD_FINALIZER = "propeller.dev/attempt"
"""Of pods in other clusters: held until their end is in a status, or their workflow is gone."""

_KIND = "flyteworkflow"


class Owner(NamedTuple):
    """The FlyteWorkflow that owns a resource; it is in the resource's namespace, of the control cluster."""

    name: str
    uid: str


class Marks(msgspec.Struct, frozen=True):
    """What resources of a cluster are marked with."""

    control: str
    cluster: str
    holds: bool = True
    """Whether pods have a finalizer."""

    @property
    def selector(self) -> str:
        """The label selector of the resources of this control cluster."""
        return f"{CONTROL_LABEL}={self.control}"

    def mark(self, resource: dict[str, Any], info: ExecutionInfo) -> dict[str, Any]:
        """Return the resource of an attempt as it is created in the cluster."""
        metadata = {key: value for key, value in resource["metadata"].items() if key != "ownerReferences"}
        own = {CONTROL_LABEL: self.control, CLUSTER_LABEL: self.cluster, WORKFLOW_UID_LABEL: info.uid}
        metadata["labels"] = {**metadata["labels"], **own}
        metadata["annotations"] = {**metadata["annotations"], WORKFLOW_ANNOTATION: info.name}
        if self.holds and resource["kind"] == "Pod":
            metadata["finalizers"] = [HOLD_FINALIZER]
        return {**resource, "metadata": metadata}


def owner_of(obj: KubeObject) -> Owner | None:
    """Return the workflow that owns a resource, by owner reference or by label; None if none does."""
    references = obj.metadata.owner_references
    if references:
        return next((Owner(one.name, one.uid) for one in references if one.kind.lower() == _KIND), None)
    labels = obj.metadata.labels
    if not labels or not (uid := labels.get(WORKFLOW_UID_LABEL)):
        return None
    name = (obj.metadata.annotations or {}).get(WORKFLOW_ANNOTATION, "")
    return Owner(name, uid) if name else None


def cluster_of(obj: KubeObject) -> str:
    """Return the name of the cluster that a resource was made for, "" for that of its owner reference."""
    return (obj.metadata.labels or {}).get(CLUSTER_LABEL, "")
