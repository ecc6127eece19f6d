"""The controller's side: build the Job of an attempt, and read its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import PodSettings, TaskPlugin, custom_of, pod_template
from propeller.kube import KubeObject, Resource
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView

MAX_PODS = 1000
"""Pods of one Job at most: a typing error must not fill a cluster."""

FIELDS = {"parallelism": 1, "completions": 1, "backoffLimit": 0}
"""Fields of a Job that a task may set, each with its minimum."""


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class JobStatus(msgspec.Struct, frozen=True, rename="camel"):
    active: int = 0
    ready: int = 0
    conditions: tuple[Condition, ...] = ()


class Job(KubeObject, frozen=True, rename="camel"):
    """The fields of a Job that `observe` reads: the informer keeps no others."""

    status: JobStatus = JobStatus()


JOBS: Resource[Job] = Resource(group="batch", version="v1", kind="Job", plural="jobs", type=Job)


class K8sJobPlugin(TaskPlugin):
    """Runs a task's container as a batch/v1 Job. Retries, timeouts and outputs of the attempt are up to propeller."""

    task_types = frozenset({"k8s-job"})
    resource = JOBS

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        custom = custom_of(node)
        spec = {name: _number(custom, name, least) for name, least in FIELDS.items() if name in custom}
        return {"spec": {**spec, "template": pod_template(node, attempt, inputs, settings)}}

    def observe(self, obj: Job, attempt: int) -> AttemptObserved:
        for condition in obj.status.conditions:
            if condition.status != "True":
                continue
            if condition.type == "Complete":
                return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)
            if condition.type == "Failed":
                return AttemptObserved(attempt, AttemptPhase.FAILED, failure=_failure(condition, attempt))
            if condition.type == "Suspended":
                return AttemptObserved(attempt, AttemptPhase.PENDING, "the Job is suspended")
        return AttemptObserved(attempt, AttemptPhase.RUNNING if obj.status.ready else AttemptPhase.PENDING)

    def pods_of(self, obj: Job) -> Sequence[Mapping[str, str]]:
        """The failure of the Job names the pod that caused it."""
        return ({"batch.kubernetes.io/controller-uid": obj.metadata.uid},)


def _failure(condition: Condition, attempt: int) -> Failure:
    """Kind USER, as a Job does not say why its pods failed; the task's retries decide about another attempt."""
    return Failure(
        condition.reason or "JobFailed",
        condition.message or "the Job failed, and Kubernetes gave no message",
        ErrorKind.USER,
        recoverable=True,
        attempt=attempt,
    )


def _number(custom: dict[str, Any], name: str, least: int) -> int:
    value = custom[name]
    if type(value) is not int or not least <= value <= MAX_PODS:
        raise Invalid(f"{name} of a K8sJob must be a whole number from {least} to {MAX_PODS}, and is {value!r}")
    return value


PLUGIN = K8sJobPlugin()
