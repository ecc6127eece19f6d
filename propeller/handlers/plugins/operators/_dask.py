"""DaskJobs of the Dask operator (kubernetes.dask.org/v1)."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from flyteidl.plugins import dask_pb2

from propeller.handlers.plugins.operators._operator import (
    Json,
    Operator,
    Reading,
    Task,
    at_least_one,
    between,
    failed,
    named,
    runs,
    waits,
)
from propeller.kube import KubeObject, Resource
from propeller.quantity import parse
from propeller.workflow import AttemptPhase

_PORTS = {"tcp-comm": 8786, "dashboard": 8787}


class DaskStatus(msgspec.Struct, frozen=True, rename="camel", gc=False):
    job_status: str = ""


class DaskJob(KubeObject, frozen=True, rename="camel"):
    status: DaskStatus = DaskStatus()


def read(job: DaskJob) -> Reading | None:
    match job.status.job_status:
        case "" | "JobCreated":
            return waits("its cluster is not created yet")
        case "ClusterCreated":
            return waits("its cluster starts")
        case "Running":
            return runs()
        case "Successful":
            return Reading(AttemptPhase.SUCCEEDED)
        case "Failed":
            return failed("the Dask job failed")
    return None


def build(task: Task) -> Json:
    """The spec of a DaskJob: a pod that runs the task, a scheduler and workers."""
    custom = task.custom(dask_pb2.DaskJob)
    return {
        "job": {"spec": {**task.pod("job-runner")["spec"], "restartPolicy": "Never"}},
        "cluster": {
            "spec": {"worker": _worker(task, custom.workers), "scheduler": _scheduler(task, custom.scheduler)},
        },
    }


def _worker(task: Task, group: dask_pb2.DaskWorkerGroup) -> Json:
    """The operator runs workers as Deployments, so that they always restart."""
    replicas = at_least_one(group.number_of_workers, "workers")
    command = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)"]
    pod = task.pod("dask-worker", image=group.image, resources=group.resources)
    worker = next(one for one in pod["spec"]["containers"] if one["name"] == "dask-worker")
    limits = worker["resources"].get("limits", {})
    if "cpu" in limits:
        command += ["--nthreads", str(math.ceil(parse(limits["cpu"])))]
    if "memory" in limits:
        command += ["--memory-limit", limits["memory"]]
    worker["args"] = command
    return {"replicas": replicas, "spec": {**pod["spec"], "restartPolicy": "Always"}}


def _scheduler(task: Task, scheduler: dask_pb2.DaskScheduler) -> Json:
    probe = {"httpGet": {"port": "dashboard"}, "initialDelaySeconds": 5, "periodSeconds": 5, "failureThreshold": 30}
    fields: dict[str, Any] = {
        "args": ["dask", "scheduler"],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in _PORTS.items()],
        "readinessProbe": task.primary.get("readinessProbe") or probe,
    }
    pod = task.pod("scheduler", image=scheduler.image, resources=scheduler.resources, **fields)
    return {
        "spec": {**pod["spec"], "restartPolicy": "Always"},
        "service": {
            "type": "NodePort",
            "selector": {"dask.org/cluster-name": task.name, "dask.org/component": "scheduler"},
            "ports": [
                {"name": name, "protocol": "TCP", "port": port, "targetPort": name} for name, port in _PORTS.items()
            ],
        },
    }


DASK = Operator(
    "dask",
    Resource(group="kubernetes.dask.org", version="v1", kind="DaskJob", plural="daskjobs", type=DaskJob),
    build,
    read,
    named("dask.org/cluster-name"),
    (
        between("kubernetes.dask.org/v1", "DaskCluster"),
        between("kubernetes.dask.org/v1", "DaskWorkerGroup"),
        between("apps/v1", "Deployment"),
        between("apps/v1", "ReplicaSet"),
    ),
)
