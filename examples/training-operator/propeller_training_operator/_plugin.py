"""Build the training job of an attempt, and read its conditions. One plugin, with data for each kind of job.

The pods of all groups run the task's command; the operator tells each its rank by environment variables, and flytekit
lets one of them write the outputs.

Source: kubeflow/training-operator v1.9 (the types of kubeflow.org/v1); FlytePropeller's k8s/kfoperators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import PodSettings, TaskPlugin, custom_of, pod_template, replica_resources
from propeller.kube import KubeObject, Resource
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView, Remains
from propeller_training_operator._custom import Group, Training, pytorch, tensorflow

FAILED = "DownstreamSystemError"
"""Error code of an attempt whose job failed; FlytePropeller's."""


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class ReplicaStatus(msgspec.Struct, frozen=True, rename="camel"):
    active: int = 0
    succeeded: int = 0
    failed: int = 0


class JobStatus(msgspec.Struct, frozen=True, rename="camel"):
    conditions: tuple[Condition, ...] | None = None
    replica_statuses: dict[str, ReplicaStatus] | None = None


class TrainingJob(KubeObject, frozen=True, rename="camel"):
    """The fields of a training job that `observe` reads: the informer keeps no others."""

    status: JobStatus = JobStatus()


class TrainingPlugin(TaskPlugin):
    """Runs the tasks of one type as one kind of the training operator's jobs.

    `container` is the name by which the operator finds the container to configure; `field` has the groups by role.
    """

    def __init__(
        self,
        task_type: str,
        kind: str,
        container: str,
        field: str,
        read: Callable[[dict[str, Any], int], Training],
    ) -> None:
        self.task_types = frozenset({task_type})
        self.resource: Resource[TrainingJob] = Resource(
            group="kubeflow.org", version="v1", kind=kind, plural=f"{kind.lower()}s", type=TrainingJob
        )
        self._container = container
        self._field = field
        self._read = read

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        version = node.graph.plan.task(node.spec.task).task_type_version
        if version not in (0, 1):
            raise Invalid(f"task_type_version of a {self.resource.kind} must be 0 or 1, and is {version}")
        training = self._read(custom_of(node), version)
        template = pod_template(node, attempt, inputs, settings)
        groups = {role: self._group(node, one, template, settings) for role, one in training.groups.items()}
        spec: dict[str, Any] = {self._field: groups, "runPolicy": training.policy}
        if training.elastic is not None:
            spec["elasticPolicy"] = training.elastic
        return {"spec": spec}

    def _group(self, node: NodeView, group: Group, template: dict[str, Any], settings: PodSettings) -> dict[str, Any]:
        containers = template["spec"]["containers"]
        own = template["metadata"]["annotations"].get("primary_container_name") or containers[0]["name"]
        changed: dict[str, Any] = {"name": self._container}
        if group.image:
            changed["image"] = group.image
        if group.resources is not None:
            changed["resources"] = replica_resources(node, group.resources, settings)
        filled = [{**one, **changed} if one["name"] == own else one for one in containers]
        pod = {"metadata": template["metadata"], "spec": {**template["spec"], "containers": filled}}
        return {"replicas": group.replicas, "restartPolicy": group.restart_policy, "template": pod}

    def observe(self, obj: TrainingJob, attempt: int) -> AttemptObserved:
        """Return what the conditions say. The end counts before the others, which the operator may leave set."""
        now = {one.type: one for one in obj.status.conditions or () if one.status == "True"}
        runs = any(group.active for group in (obj.status.replica_statuses or {}).values())
        remains = Remains.RUNNING if runs else Remains.NOTHING
        if "Succeeded" in now:
            return AttemptObserved(attempt, AttemptPhase.SUCCEEDED, remains=remains)
        if failed := now.get("Failed"):
            message = f"{failed.reason or 'Failed'}: {failed.message or 'the operator gave no message'}{_counts(obj)}"
            failure = Failure(FAILED, message, ErrorKind.USER, recoverable=True, attempt=attempt)
            return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure, remains=remains)
        if suspended := now.get("Suspended"):
            why = suspended.message or f"the {self.resource.kind} is suspended"
            return AttemptObserved(attempt, AttemptPhase.PENDING, why, gated=True)
        if "Running" in now or "Restarting" in now:
            return AttemptObserved(attempt, AttemptPhase.RUNNING)
        return AttemptObserved(attempt, AttemptPhase.PENDING, f"the {self.resource.kind} has no running replicas yet")


def _counts(obj: TrainingJob) -> str:
    """Format the replicas of each role, such as " (Worker: 1 failed, 2 active)"; "" if there are none."""
    roles = []
    for role, group in sorted((obj.status.replica_statuses or {}).items()):
        counts = {"failed": group.failed, "active": group.active, "succeeded": group.succeeded}
        if named := ", ".join(f"{number} {word}" for word, number in counts.items() if number):
            roles.append(f"{role}: {named}")
    return f" ({'; '.join(roles)})" if roles else ""


PYTORCH = TrainingPlugin("pytorch", "PyTorchJob", "pytorch", "pytorchReplicaSpecs", pytorch)
TENSORFLOW = TrainingPlugin("tensorflow", "TFJob", "tensorflow", "tfReplicaSpecs", tensorflow)
