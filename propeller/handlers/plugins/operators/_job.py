"""Jobs of Kubernetes itself (batch/v1), whose operator is in every cluster: several pods, by number or by index.

Flyte has no such task type. A task of type `kubernetes-job` has the fields of `JobFields` in its `custom`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from propeller.errors import Invalid
from propeller.handlers.plugins._api import custom_of
from propeller.handlers.plugins.operators._operator import (
    Condition,
    Json,
    Operator,
    Reading,
    Task,
    failed,
    runs,
    waits,
)
from propeller.kube import KubeObject, Resource
from propeller.workflow import AttemptPhase

MAX_PODS = 10_000
"""Pods of one Job at most: a typing error must not fill a cluster. A map task has as many items and more."""

_Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_PODS)]
_Retries = Annotated[int, msgspec.Meta(ge=0, le=MAX_PODS)]


class JobFields(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a Job's spec that a task may set, with Kubernetes' meaning. The others are the controller's."""

    parallelism: _Count | None = None
    completions: _Count | None = None
    completion_mode: Literal["NonIndexed", "Indexed"] | None = None
    backoff_limit: _Retries | None = None
    backoff_limit_per_index: _Retries | None = None
    max_failed_indexes: _Retries | None = None
    active_deadline_seconds: Annotated[int, msgspec.Meta(ge=1)] | None = None
    pod_replacement_policy: Literal["TerminatingOrFailed", "Failed"] | None = None
    pod_failure_policy: dict[str, Any] | None = None
    success_policy: dict[str, Any] | None = None


class JobStatus(msgspec.Struct, frozen=True, rename="camel"):
    active: int = 0
    ready: int = 0
    succeeded: int = 0
    terminating: int = 0
    conditions: tuple[Condition, ...] = ()


class Job(KubeObject, frozen=True, rename="camel"):
    status: JobStatus = JobStatus()


def read(job: Job) -> Reading | None:
    """A Job has ended when it is Complete or Failed; FailureTarget and SuccessCriteriaMet announce that before."""
    status = job.status
    true = {one.type: one for one in status.conditions if one.status == "True"}
    remains = status.active + status.terminating > 0
    if "Complete" in true:
        return Reading(AttemptPhase.SUCCEEDED, runs_on=remains)
    if (why := true.get("Failed")) is not None:
        final = why.reason == "PodFailurePolicy"  # its author names failures that no other attempt can mend
        return failed("the Job failed", why.reason, why.message)._replace(runs_on=remains, is_final=final)
    if "Suspended" in true:
        return waits("the Job is suspended", is_held=True)
    if status.ready or status.succeeded:
        return runs(f"{status.ready} pods ready, {status.succeeded} succeeded")
    return waits("none of its pods is ready yet" if status.active else "it has no pods yet")


def build(task: Task) -> Json:
    """The spec of a Job whose pods are the task's."""
    try:
        fields = msgspec.convert(custom_of(task.node), JobFields)
    except msgspec.ValidationError as error:
        raise Invalid(f"custom of task {task.declared.id.name}, as fields of a Job: {error}") from None
    if fields.completion_mode == "Indexed" and fields.completions is None:
        raise Invalid(f"custom of task {task.declared.id.name}: completionMode Indexed needs completions")
    return {**msgspec.to_builtins(fields), "template": task.pod(task.primary["name"])}


JOB = Operator(
    "kubernetes-job",
    Resource(group="batch", version="v1", kind="Job", plural="jobs", type=Job),
    build,
    read,
    lambda job: ({"batch.kubernetes.io/controller-uid": job.metadata.uid},),
    longest_name=63,
)
