"""What FlytePropeller 1.16 leaves in flight: resources with its status, and its pods (from its Go types' JSON).

It has a directory without a uid for an execution's data, and its pods have its labels and no annotations of ours.
"""

from __future__ import annotations

from typing import Any, Protocol

from propeller.embedded.server import ApiServer
from propeller.kube import Client, Raw
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS
from tests.unit.workflow.drive import TASK, graph

DATA = "memory://m/p-d-w"
IDENTITY = {"project": "p", "domain": "d", "name": "w"}
LABELS = {"project": "p", "domain": "d", "execution-id": "w"}
T0 = "2026-01-02T03:04:05Z"

QUEUED, RUNNING, FAILING, SUCCEEDING, SUCCEEDED, FAILED, SKIPPED, RETRYABLE, TIMING_OUT, TIMED_OUT, DYNAMIC = range(
    1, 12
)
"""v1alpha1.NodePhase."""

START = {"phase": SUCCEEDED, "stoppedAt": T0}


class Cluster(Protocol):
    """A namespace, and a user of it."""

    @property
    def user(self) -> Client: ...
    @property
    def namespace(self) -> str: ...


def node(phase: int, *, task: int | None = None, attempts: int = 0, **fields: Any) -> dict[str, Any]:
    """A NodeStatus as Go writes it: what is empty is left out, and the task's status is under its Go name."""
    found: dict[str, Any] = {"phase": phase, "queuedAt": T0, "startedAt": T0, "laStartedAt": T0, "lastUpdatedAt": T0}
    if attempts:
        found["attempts"] = attempts
    if task is not None:
        found["TaskNodeStatus"] = {"phase": task, "pState": "QQ==", "psv": 1, "updAt": T0}
    return found | fields


def ended(phase: int = SUCCEEDED, **fields: Any) -> dict[str, Any]:
    """FlytePropeller clears most of a node that has ended."""
    return {"phase": phase, "stoppedAt": T0, **fields}


def bits(values: list[int], item: int) -> dict[str, Any]:
    """A bitarray.CompactArray: each value's highest bit first, in words of 32 bits."""
    words = [0] * (len(values) * item // 32 + 1)
    for index, value in enumerate(values):
        for at in range(item):
            if value >> (item - 1 - at) & 1:
                words[(index * item + at) // 32] |= 1 << (index * item + at) % 32
    return {"BitSet": words, "item": item, "count": len(values)}


async def left(
    of: Cluster, nodes: tuple[dict[str, Any], ...], statuses: dict[str, Any], *, phase: int = 1, **more: Any
) -> Raw:
    """A FlyteWorkflow that FlytePropeller had begun; `more` may have the graph's `edges`, and `status`, `tasks`."""
    status = {
        "phase": phase,
        "startedAt": T0,
        "lastUpdatedAt": T0,
        "dataDir": DATA,
        "defVersion": 1,
        "nodeStatus": {"start-node": START, **statuses},
        **more.pop("status", {}),
    }
    tasks = more.pop("tasks", {"t": TASK})
    top: dict[str, Any] = {key: more.pop(key) for key in ("subWorkflows", "inputs") if key in more}
    created = await of.user.create(
        WORKFLOWS,
        {
            "metadata": {"name": "w", "labels": LABELS, "finalizers": ["flyte.org/finalizer"]},
            "executionId": IDENTITY,
            "spec": graph(*nodes, **more),
            "tasks": tasks,
            **top,
        },
        of.namespace,
    )
    await of.user.patch(WORKFLOWS, "w", of.namespace, body={"status": status}, subresource="status")
    return created


async def pod(of: Cluster, workflow: Raw, name: str, node_id: str, phase: str = "Running") -> None:
    """A pod of FlytePropeller's."""
    owner = {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "flyteworkflow",
        "name": "w",
        "uid": workflow["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "labels": {**LABELS, "node-id": node_id, "task-name": "t", "interruptible": "false"},
        "annotations": {"primary_container_name": name, "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        "ownerReferences": [owner],
    }
    spec = {"containers": [{"name": name, "image": "i"}], "restartPolicy": "Never"}
    await of.user.create(RAW_PODS, {"metadata": metadata, "spec": spec}, of.namespace)
    if phase:
        await of.user.patch(RAW_PODS, name, of.namespace, body={"status": {"phase": phase}}, subresource="status")


def names(server: ApiServer) -> list[str]:
    """Of the pods that are, also of those that have been told to stop."""
    records = server._registry.get("", "v1", "pods").collection.records.values()
    return sorted(record.parsed()["metadata"]["name"] for record in records)
