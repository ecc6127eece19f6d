"""Read what a task asks for: `custom` in both of flytekit's forms, as the replicas of a training job.

Source: flyteidl plugins/pytorch.proto and plugins/tensorflow.proto (task type version 0), plugins/kubeflow/*.proto
(version 1). In version 1 a group's `common`, if set, replaces its older fields.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.core import tasks_pb2
from flyteidl.plugins import common_pb2, pytorch_pb2, tensorflow_pb2
from flyteidl.plugins.kubeflow import common_pb2 as kubeflow_pb2
from flyteidl.plugins.kubeflow import pytorch_pb2 as kubeflow_pytorch_pb2
from flyteidl.plugins.kubeflow import tensorflow_pb2 as kubeflow_tensorflow_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from propeller.errors import Invalid

MAX_REPLICAS = 1000
"""Pods of one group of replicas at most: a typing error must not fill a cluster."""

_RESTART = {
    common_pb2.RESTART_POLICY_NEVER: "Never",
    common_pb2.RESTART_POLICY_ON_FAILURE: "OnFailure",
    common_pb2.RESTART_POLICY_ALWAYS: "Always",
}
_CLEAN = {
    kubeflow_pb2.CLEANPOD_POLICY_NONE: "None",
    kubeflow_pb2.CLEANPOD_POLICY_RUNNING: "Running",
    kubeflow_pb2.CLEANPOD_POLICY_ALL: "All",
}


class Group(msgspec.Struct, frozen=True):
    """Replicas of one role. `image` and `resources` are the task's own if empty or None."""

    replicas: int
    restart_policy: str = "Never"
    image: str = ""
    resources: tasks_pb2.Resources | None = None


class Training(msgspec.Struct, frozen=True):
    """A training job: groups by role, and the fields `elasticPolicy` and `runPolicy` of its resource."""

    groups: dict[str, Group]
    elastic: dict[str, Any] | None = None
    policy: dict[str, Any] = {}


def pytorch(custom: dict[str, Any], version: int) -> Training:
    """Return the replicas of a PyTorchJob. Raises Invalid. An elastic job has no master: its workers elect one."""
    if version == 0:
        old = _parsed(custom, pytorch_pb2.DistributedPyTorchTrainingTask())
        groups = {"Master": Group(1), "Worker": Group(_count(old.workers, "workers"))}
        elastic = old.elastic_config if old.HasField("elastic_config") else None
        policy = {}
    else:
        new = _parsed(custom, kubeflow_pytorch_pb2.DistributedPyTorchTrainingTask())
        master = msgspec.structs.replace(_group(new.master_replicas, "masterReplicas"), replicas=1)
        groups = {"Master": master, "Worker": _group(new.worker_replicas, "workerReplicas")}
        elastic = new.elastic_config if new.HasField("elastic_config") else None
        policy = _policy(new)
    if not groups["Worker"].replicas:
        raise Invalid("a PyTorch task needs at least one worker: set replicas of its Worker, or nnodes of its Elastic")
    if elastic is None:
        return Training(groups, None, policy)
    found = {
        "minReplicas": elastic.min_replicas,
        "maxReplicas": elastic.max_replicas,
        "nProcPerNode": elastic.nproc_per_node,
        "maxRestarts": elastic.max_restarts,
    }
    if elastic.rdzv_backend:
        found["rdzvBackend"] = elastic.rdzv_backend
    return Training({"Worker": groups["Worker"]}, found, policy)


def tensorflow(custom: dict[str, Any], version: int) -> Training:
    """Return the replicas of a TFJob; roles without replicas are left out. Raises Invalid."""
    if version == 0:
        old = _parsed(custom, tensorflow_pb2.DistributedTensorflowTrainingTask())
        counts = {
            "Worker": ("workers", old.workers),
            "PS": ("psReplicas", old.ps_replicas),
            "Chief": ("chiefReplicas", old.chief_replicas),
            "Evaluator": ("evaluatorReplicas", old.evaluator_replicas),
        }
        groups = {role: Group(_count(count, field)) for role, (field, count) in counts.items()}
        policy = {}
    else:
        new = _parsed(custom, kubeflow_tensorflow_pb2.DistributedTensorflowTrainingTask())
        groups = {
            "Worker": _group(new.worker_replicas, "workerReplicas"),
            "PS": _group(new.ps_replicas, "psReplicas"),
            "Chief": _group(new.chief_replicas, "chiefReplicas"),
            "Evaluator": _group(new.evaluator_replicas, "evaluatorReplicas"),
        }
        policy = _policy(new)
    if not groups["Worker"].replicas:
        raise Invalid("a TensorFlow task needs at least one worker: set replicas of its Worker")
    return Training({role: group for role, group in groups.items() if group.replicas}, None, policy)


def _parsed(custom: dict[str, Any], message: Any) -> Any:
    assert isinstance(message, Message)
    try:
        return json_format.ParseDict(custom, message)
    except json_format.ParseError as error:
        raise Invalid(f"custom of the task is no {message.DESCRIPTOR.name}: {error}") from None


def _group(spec: Any, field: str) -> Group:
    found = spec.common if spec.HasField("common") else spec
    return Group(
        _count(found.replicas, f"{field}.replicas"),
        _RESTART.get(found.restart_policy, "Never"),
        found.image,
        found.resources if found.HasField("resources") else None,
    )


def _count(number: int, field: str) -> int:
    if not 0 <= number <= MAX_REPLICAS:
        raise Invalid(f"{field} must be from 0 to {MAX_REPLICAS}, and is {number}")
    return number


def _policy(task: Any) -> dict[str, Any]:
    """Return the runPolicy of a job; limits that are not set are left out."""
    if not task.HasField("run_policy"):
        return {}
    given = task.run_policy
    policy: dict[str, Any] = {"cleanPodPolicy": _CLEAN.get(given.clean_pod_policy, "None")}
    limits = {
        "ttlSecondsAfterFinished": given.ttl_seconds_after_finished,
        "activeDeadlineSeconds": given.active_deadline_seconds,
        "backoffLimit": given.backoff_limit,
    }
    for name, value in limits.items():
        if value < 0:
            raise Invalid(f"runPolicy.{name} must not be negative, and is {value}")
        if value:
            policy[name] = value
    return policy
