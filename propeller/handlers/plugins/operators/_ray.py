"""RayJobs of KubeRay (ray.io/v1)."""

from __future__ import annotations

import base64
import shlex
from typing import Any

import msgspec
import orjson
from flyteidl.core import tasks_pb2
from flyteidl.plugins import ray_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins.operators._operator import (
    Json,
    Operator,
    Reading,
    Task,
    at_least_one,
    between,
    failed,
    runs,
    waits,
)
from propeller.handlers.plugins.pod import overlaid, task_resources
from propeller.kube import KubeObject, Resource
from propeller.storage import struct_to_python
from propeller.workflow import AttemptPhase

MAX_NAME = 47
"""Characters: KubeRay derives names of services and pods from it."""

KEPT = 3600
"""Seconds that a cluster stays after its job, if the task does not say: Flyte's default."""

_OUT_OF_GRACE = "JobDeploymentStatusTransitionGracePeriodExceeded"
_FAILED = "TaskFailedWithError"
_PORTS = [
    {"name": "redis", "containerPort": 6379},
    {"name": "head", "containerPort": 10001},
    {"name": "dashboard", "containerPort": 8265},
]
_SUBMITTER = {"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
_MODES = {
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_DEFAULT: "Default",
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_CONSERVATIVE: "Conservative",
    ray_pb2.AutoscalerOptions.UPSCALING_MODE_AGGRESSIVE: "Aggressive",
}


class RayStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    job_deployment_status: str = ""
    reason: str = ""
    message: str = ""
    ray_cluster_name: str = ""


class RayJob(KubeObject, frozen=True, rename="camel"):
    status: RayStatus = RayStatus()


def read(job: RayJob) -> Reading | None:
    status = job.status
    match status.job_deployment_status:
        case "":
            return waits("its operator has not looked at it yet")
        case "Initializing":
            return waits("its cluster starts")
        case "Suspending" | "Suspended":
            return waits("its cluster is suspended", is_held=True)
        case "Waiting" | "Retrying":
            return waits("its cluster waits for the job to be submitted")
        case "Running":
            return runs()
        case "Complete":
            return Reading(AttemptPhase.SUCCEEDED)
        case "Failed" | "ValidationFailed":
            reading = failed("the Ray job failed", status.reason, status.message)._replace(code=_FAILED)
            by_system = status.reason == _OUT_OF_GRACE
            return reading._replace(by_system=by_system, is_final=not by_system)
    return None


def pods(job: RayJob) -> list[dict[str, str]]:
    """Those of its cluster, and the one that submits the job: of a Job with the same name."""
    cluster = job.status.ray_cluster_name
    return [
        {"batch.kubernetes.io/job-name": job.metadata.name},
        *([{"ray.io/cluster": cluster}] if cluster else []),
    ]


def build(task: Task) -> Json:
    """The spec of a RayJob: its cluster, and the task's arguments as what it submits there."""
    custom = task.custom(ray_pb2.RayJob)
    cluster = custom.ray_cluster
    head = _head(task, cluster.head_group_spec)
    keeps = custom.ttl_seconds_after_finished if custom.shutdown_after_job_finishes else KEPT
    spec: Json = {
        "entrypoint": shlex.join(task.primary["args"]),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": keeps,
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": _submitter(task, head),
        "rayClusterSpec": {
            "enableInTreeAutoscaling": cluster.enable_autoscaling,
            "headGroupSpec": head,
            "workerGroupSpecs": [_workers(task, group) for group in cluster.worker_group_spec],
        },
    }
    if cluster.HasField("autoscaler_options"):
        spec["rayClusterSpec"]["autoscalerOptions"] = _autoscaler(
            cluster.autoscaler_options, task.settings.defaults.gpu_resource
        )
    if environment := custom.runtime_env_yaml or _converted(custom.runtime_env):
        spec["runtimeEnvYAML"] = environment
    return spec


def _head(task: Task, group: ray_pb2.HeadGroupSpec) -> Json:
    parameters = {
        "include-dashboard": "true",
        "dashboard-host": "0.0.0.0",  # noqa: S104 - in its pod
        **group.ray_start_params,
    }
    template = _template(task, "ray-head", [_field("MY_POD_IP", "status.podIP")], group)
    return {
        "serviceType": "NodePort",
        "enableIngress": True,
        "rayStartParams": _started(parameters),
        "template": template,
    }


def _workers(task: Task, group: ray_pb2.WorkerGroupSpec) -> Json:
    name = "ray-worker"
    replicas = at_least_one(group.replicas, f"workers of group {group.group_name}")
    variables: list[Json] = [
        {"name": "RAY_DISABLE_DOCKER_CPU_WARNING", "value": "1"},
        {"name": "TYPE", "value": "worker"},
        *(
            {"name": variable, "valueFrom": {"resourceFieldRef": {"containerName": name, "resource": resource}}}
            for variable, resource in (
                ("CPU_REQUEST", "requests.cpu"),
                ("CPU_LIMITS", "limits.cpu"),
                ("MEMORY_REQUESTS", "requests.memory"),
                ("MEMORY_LIMITS", "limits.memory"),
            )
        ),
        _field("MY_POD_NAME", "metadata.name"),
        _field("MY_POD_IP", "status.podIP"),
    ]
    stop = {"lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "ray stop"]}}}}
    return {
        "groupName": group.group_name,
        "replicas": replicas,
        "minReplicas": min(group.min_replicas, replicas),
        "maxReplicas": max(group.max_replicas, replicas),
        "rayStartParams": _started(dict(group.ray_start_params)),
        "template": _template(task, name, variables, group, **stop),
    }


def _started(parameters: dict[str, str]) -> dict[str, str]:
    return {"node-ip-address": "$MY_POD_IP", "disable-usage-stats": "true", **parameters}


def _template(
    task: Task, name: str, variables: list[Json], group: ray_pb2.HeadGroupSpec | ray_pb2.WorkerGroupSpec, **fields: Any
) -> Json:
    primary = task.primary
    fields |= {
        "args": [],
        "env": [*primary["env"], *variables],
        "ports": [*(primary.get("ports") or ()), *_PORTS],
    }
    pod = task.pod(name, **fields)
    return _overlaid(task, pod, group.k8s_pod) if group.HasField("k8s_pod") else pod


def _overlaid(task: Task, pod: Json, own: tasks_pb2.K8sPod) -> Json:
    """The pod of a group with what its author says of it. Raises Invalid if the policy for pods forbids that."""
    spec = struct_to_python(own.pod_spec, "k8s_pod of a Ray group")
    return overlaid(task.node, pod, spec, dict(own.metadata.labels), dict(own.metadata.annotations), task.settings)


def _submitter(task: Task, head: Json) -> Json:
    """The pod that submits the job, with the image of the head."""
    image = next(one["image"] for one in head["template"]["spec"]["containers"] if one["name"] == "ray-head")
    container = {
        "name": "ray-job-submitter",
        "image": image,
        "resources": _SUBMITTER,
        "terminationMessagePolicy": "FallbackToLogsOnError",  # it prints what the job prints
    }
    spec = {"restartPolicy": "Never", "enableServiceLinks": False, "containers": [container]}
    metadata = task.template["metadata"]
    return {"metadata": {"labels": metadata["labels"]}, "spec": spec}


def _autoscaler(options: ray_pb2.AutoscalerOptions, gpu: str) -> Json:
    found: Json = {}
    if options.resources.requests or options.resources.limits:
        found["resources"] = task_resources(options.resources, gpu)
    if options.idle_timeout_seconds:
        found["idleTimeoutSeconds"] = options.idle_timeout_seconds
    if mode := _MODES.get(options.upscaling_mode):
        found["upscalingMode"] = mode
    if options.image:
        found["image"] = options.image
    if options.env:
        found["env"] = [{"name": one.key, "value": one.value} for one in options.env]
    return found


def _converted(text: str) -> str:
    """The environment in the older form: JSON in Base64. Raises Invalid."""
    if not text:
        return ""
    try:
        found = orjson.loads(base64.b64decode(text, validate=True))
        return orjson.dumps(found).decode()  # JSON is YAML
    except (ValueError, TypeError) as error:  # the last: it nests deeper than orjson writes
        raise Invalid(f"runtime_env of the Ray job is no JSON in Base64: {error}") from None


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


RAY = Operator(
    "ray",
    Resource(group="ray.io", version="v1", kind="RayJob", plural="rayjobs", type=RayJob),
    build,
    read,
    pods,
    (between("ray.io/v1", "RayCluster"), between("batch/v1", "Job")),
    MAX_NAME,
)
