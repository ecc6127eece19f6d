"""PyTorchJobs, TFJobs and MPIJobs of Kubeflow's training operator (kubeflow.org/v1)."""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.plugins import common_pb2
from flyteidl.plugins import mpi_pb2 as mpi_v0
from flyteidl.plugins import pytorch_pb2 as pytorch_v0
from flyteidl.plugins import tensorflow_pb2 as tensorflow_v0
from flyteidl.plugins.kubeflow import common_pb2 as kubeflow
from flyteidl.plugins.kubeflow import mpi_pb2, pytorch_pb2, tensorflow_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins.operators._operator import (
    Condition,
    Json,
    Operator,
    Reading,
    Task,
    at_least_one,
    failed,
    named,
    runs,
    waits,
)
from propeller.kube import KubeObject, Resource
from propeller.workflow import AttemptPhase

WORKER_COMMAND = "worker_spec_command"
"""Key of the task's `config` with the command of MPI workers, in the first form of the task."""

_RESTART = {
    common_pb2.RESTART_POLICY_NEVER: "Never",
    common_pb2.RESTART_POLICY_ON_FAILURE: "OnFailure",
    common_pb2.RESTART_POLICY_ALWAYS: "Always",
}
_CLEAN = {
    kubeflow.CLEANPOD_POLICY_NONE: "None",
    kubeflow.CLEANPOD_POLICY_RUNNING: "Running",
    kubeflow.CLEANPOD_POLICY_ALL: "All",
}


class Replicas(msgspec.Struct, frozen=True, rename="camel", gc=False):
    active: int = 0


class JobStatus(msgspec.Struct, frozen=True, rename="camel"):
    conditions: tuple[Condition, ...] | None = None
    replica_statuses: dict[str, Replicas | None] | None = None


class TrainingJob(KubeObject, frozen=True, rename="camel"):
    """The fields that are read of each of the three."""

    status: JobStatus = JobStatus()


def read(job: TrainingJob) -> Reading | None:
    """The latest condition that is true decides, as in Flyte; of one second, the last one."""
    true = [one for one in reversed(job.status.conditions or ()) if one.status == "True"]
    latest = max(true, key=lambda one: one.last_transition_time, default=None)
    active = sum(one.active for one in (job.status.replica_statuses or {}).values() if one is not None)
    match latest.type if latest is not None else "":
        case "" | "Created":
            return waits("the job is created, and its operator has not started it yet")
        case "Suspended":
            return waits("the job is suspended", is_held=True)
        case "Running" | "Restarting":
            return runs(f"{active} pods active")
        case "Succeeded":
            return Reading(AttemptPhase.SUCCEEDED, runs_on=active > 0)
        case "Failed":
            assert latest is not None
            return failed("the job failed", latest.reason, latest.message)._replace(runs_on=active > 0)
    return None


_Role = (
    pytorch_pb2.DistributedPyTorchTrainingReplicaSpec
    | tensorflow_pb2.DistributedTensorflowTrainingReplicaSpec
    | mpi_pb2.DistributedMPITrainingReplicaSpec
)
"""A part of a job, in the second form of these tasks."""

_SecondForm = (
    pytorch_pb2.DistributedPyTorchTrainingTask
    | tensorflow_pb2.DistributedTensorflowTrainingTask
    | mpi_pb2.DistributedMPITrainingTask
)


def _given(role: _Role) -> common_pb2.CommonReplicaSpec | _Role:
    """What has the role's fields: `common`, or, in older tasks, the role itself."""
    return role.common if role.HasField("common") else role


def _part(task: Task, container: str, role: _Role, replicas: int | None = None) -> Json:
    """A part of a job, in the second form of these tasks."""
    given = _given(role)
    command = list(role.command) if isinstance(role, mpi_pb2.DistributedMPITrainingReplicaSpec) else []
    fields = {"args": command} if command else {}
    template = task.pod(container, image=given.image, resources=given.resources, **fields)
    count = given.replicas if replicas is None else replicas
    return {"replicas": count, "restartPolicy": _RESTART[given.restart_policy], "template": template}


def _same(task: Task, container: str, replicas: int, **fields: Any) -> Json:
    """A part of a job in the first form of these tasks: all parts are alike."""
    return {"replicas": replicas, "restartPolicy": "Never", "template": task.pod(container, **fields)}


def _run_policy(custom: _SecondForm) -> Json:
    if not custom.HasField("run_policy"):
        return {}
    policy = custom.run_policy
    found: Json = {"cleanPodPolicy": _CLEAN[policy.clean_pod_policy]}
    for field, value in (
        ("backoffLimit", policy.backoff_limit),
        ("activeDeadlineSeconds", policy.active_deadline_seconds),
        ("ttlSecondsAfterFinished", policy.ttl_seconds_after_finished),
    ):
        if value:
            found[field] = value
    return found


def _has_first_form(task: Task) -> bool:
    """Whether `custom` is of the first form of these tasks. Raises Invalid if it is of neither form."""
    version = task.declared.task_type_version
    if version not in (0, 1):
        raise Invalid(f"the task's type has version {version}, and versions 0 and 1 are known: update propeller")
    return version == 0


def _elastic(config: pytorch_v0.ElasticConfig | pytorch_pb2.ElasticConfig) -> Json:
    return {
        "minReplicas": config.min_replicas,
        "maxReplicas": config.max_replicas,
        "nProcPerNode": config.nproc_per_node,
        "maxRestarts": config.max_restarts,
        "rdzvBackend": config.rdzv_backend,
    }


def pytorch(task: Task) -> Json:
    """The spec of a PyTorchJob: a master and workers, or, with an elastic policy, workers alone."""
    name, policy = "pytorch", {}
    custom: pytorch_v0.DistributedPyTorchTrainingTask | pytorch_pb2.DistributedPyTorchTrainingTask
    if _has_first_form(task):
        custom = task.custom(pytorch_v0.DistributedPyTorchTrainingTask)
        at_least_one(custom.workers, "workers")
        parts = {"Master": _same(task, name, 1), "Worker": _same(task, name, custom.workers)}
    else:
        custom = task.custom(pytorch_pb2.DistributedPyTorchTrainingTask)
        at_least_one(_given(custom.worker_replicas).replicas, "workers")
        parts = {
            "Master": _part(task, name, custom.master_replicas, 1),
            "Worker": _part(task, name, custom.worker_replicas),
        }
        policy = _run_policy(custom)
    spec: Json = {"pytorchReplicaSpecs": parts, "runPolicy": policy}
    if custom.HasField("elastic_config"):
        del parts["Master"]
        spec["elasticPolicy"] = _elastic(custom.elastic_config)
    return spec


def tensorflow(task: Task) -> Json:
    """The spec of a TFJob: workers, and parameter servers, a chief and evaluators if there are any."""
    name, policy = "tensorflow", {}
    if _has_first_form(task):
        plain = task.custom(tensorflow_v0.DistributedTensorflowTrainingTask)
        counts = {
            "Chief": plain.chief_replicas,
            "Worker": plain.workers,
            "PS": plain.ps_replicas,
            "Evaluator": plain.evaluator_replicas,
        }
        at_least_one(plain.workers, "workers")
        parts = {part: _same(task, name, count) for part, count in counts.items() if count > 0}
    else:
        custom = task.custom(tensorflow_pb2.DistributedTensorflowTrainingTask)
        roles = {
            "Chief": custom.chief_replicas,
            "Worker": custom.worker_replicas,
            "PS": custom.ps_replicas,
            "Evaluator": custom.evaluator_replicas,
        }
        at_least_one(_given(custom.worker_replicas).replicas, "workers")
        parts = {part: _part(task, name, role) for part, role in roles.items() if _given(role).replicas > 0}
        policy = _run_policy(custom)
    return {"tfReplicaSpecs": parts, "runPolicy": policy}


def mpi(task: Task) -> Json:
    """The spec of an MPIJob: a launcher, which runs the task, and workers, which wait for it."""
    name, policy = "mpi", {}
    if _has_first_form(task):
        plain = task.custom(mpi_v0.DistributedMPITrainingTask)
        at_least_one(plain.num_workers, "workers")
        command = task.declared.config.get(WORKER_COMMAND, "").split()
        parts = {
            "Launcher": _same(task, name, max(1, plain.num_launcher_replicas)),
            "Worker": _same(task, name, plain.num_workers, args=command, command=[]),
        }
        slots = plain.slots
    else:
        custom = task.custom(mpi_pb2.DistributedMPITrainingTask)
        at_least_one(_given(custom.worker_replicas).replicas, "workers")
        parts = {
            "Launcher": _part(task, name, custom.launcher_replicas, 1),
            "Worker": _part(task, name, custom.worker_replicas),
        }
        policy, slots = _run_policy(custom), custom.slots
    return {"mpiReplicaSpecs": parts, "runPolicy": policy, "slotsPerWorker": slots or 1}


def _jobs(kind: str) -> Resource[TrainingJob]:
    return Resource(group="kubeflow.org", version="v1", kind=kind, plural=f"{kind.lower()}s", type=TrainingJob)


_PODS = named("training.kubeflow.org/job-name")

PYTORCH = Operator("pytorch", _jobs("PyTorchJob"), pytorch, read, _PODS)
TENSORFLOW = Operator("tensorflow", _jobs("TFJob"), tensorflow, read, _PODS)
MPI = Operator("mpi", _jobs("MPIJob"), mpi, read, _PODS)
