"""Tasks that operators run, as flytekit's plugins write them, with every option that they have."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.config import OperatorOptions
from propeller.handlers.plugins import Plugins, PodSettings, TaskPlugin, load_plugins
from propeller.kube import Resource
from propeller.workflow import NodeView
from tests.unit.handlers.build import World, graph, literals, task, template

Json = dict[str, Any]

SETTINGS = PodSettings(raw_output_prefix="s3://raw")

CONTAINER: Json = {
    "image": "image:1",
    "args": ["pyflyte-execute", "--inputs", "{{.input}}", "a b"],
    "resources": {
        "requests": [{"name": "CPU", "value": "1500m"}, {"name": "MEMORY", "value": "1Gi"}],
        "limits": [{"name": "CPU", "value": "1500m"}, {"name": "MEMORY", "value": "1Gi"}],
    },
    "env": [{"key": "A", "value": "B"}],
}
LARGE = {"requests": [{"name": "CPU", "value": "4"}], "limits": [{"name": "CPU", "value": "8"}]}


def role(replicas: int, **fields: Any) -> Json:
    return {"common": {"replicas": replicas, "image": "own:2", "resources": LARGE, **fields}}


RUN_POLICY = {
    "cleanPodPolicy": "CLEANPOD_POLICY_ALL",
    "ttlSecondsAfterFinished": 60,
    "activeDeadlineSeconds": 3600,
    "backoffLimit": 2,
}
ELASTIC = {"rdzvBackend": "c10d", "minReplicas": 1, "maxReplicas": 3, "nprocPerNode": 2, "maxRestarts": 4}

TASKS: dict[str, Json] = {
    "pytorch": {"workerReplicas": role(3), "masterReplicas": {}, "runPolicy": RUN_POLICY},
    "tensorflow": {
        "workerReplicas": role(2),
        "psReplicas": role(1),
        "chiefReplicas": role(1),
        "evaluatorReplicas": {"replicas": 1, "image": "older:1"},
        "runPolicy": RUN_POLICY,
    },
    "mpi": {
        "workerReplicas": {**role(2), "command": ["/usr/sbin/sshd", "-De"]},
        "launcherReplicas": role(1, restartPolicy="RESTART_POLICY_ON_FAILURE"),
        "slots": 2,
        "runPolicy": RUN_POLICY,
    },
    "kubernetes-job": {
        "parallelism": 2,
        "completions": 4,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 1,
        "maxFailedIndexes": 2,
        "activeDeadlineSeconds": 3600,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}],
        },
        "successPolicy": {"rules": [{"succeededCount": 3}]},
    },
    "dask": {
        "scheduler": {"image": "own:2", "resources": LARGE},
        "workers": {"numberOfWorkers": 3, "image": "own:2", "resources": LARGE},
    },
    "ray": {
        "rayCluster": {
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "2"},
                "k8sPod": {
                    "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
                    "podSpec": {
                        "nodeSelector": {"pool": "big"},
                        "containers": [{"name": "ray-head", "env": [{"name": "C", "value": "D"}]}],
                    },
                },
            },
            "workerGroupSpec": [
                {"groupName": "small", "replicas": 2, "minReplicas": 1, "maxReplicas": 5},
                {"groupName": "large", "replicas": 1, "rayStartParams": {"num-cpus": "8"}},
            ],
            "enableAutoscaling": True,
            "autoscalerOptions": {"idleTimeoutSeconds": 30, "upscalingMode": "UPSCALING_MODE_AGGRESSIVE"},
        },
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 20,
        "runtimeEnvYaml": "pip: [requests]\n",
    },
    "spark": {
        "mainApplicationFile": "local:///usr/local/bin/entrypoint.py",
        "executorPath": "/usr/bin/python3",
        "sparkConf": {
            "spark.driver.memory": "1g",
            "spark.driver.cores": "2",
            "spark.executor.cores": "4",
            "spark.executor.instances": "3",
            "spark.executor.memory": "2g",
        },
        "hadoopConf": {"fs.s3a.endpoint": "s3"},
    },
}
"""By type: the task's `custom`."""

VERSIONS = {"pytorch": 1, "tensorflow": 1, "mpi": 1}


def plugins(*enabled: str) -> Plugins:
    settings = msgspec.convert({"enabled": enabled or tuple(TASKS)}, OperatorOptions)
    return load_plugins((), settings.enabled)


def plugin_of(task_type: str) -> TaskPlugin:
    (_, found) = plugins(task_type)
    return found


def resource_of(task_type: str) -> Resource[Json]:
    """The resource of its plugin, with all of its fields."""
    return plugin_of(task_type).resource.typed(dict[str, Any])


def node_of(
    task_type: str, custom: Json | None = None, *, version: int | None = None, name: str = "e", **fields: Any
) -> NodeView:
    of_task = template(
        type=task_type,
        custom=TASKS[task_type] if custom is None else custom,
        taskTypeVersion=VERSIONS.get(task_type, 0) if version is None else version,
        container=CONTAINER,
        **fields,
    )
    return World(graph(task("n0")), {"t": of_task}, name=name).node("n0")


def built(task_type: str, custom: Json | None = None, *, version: int | None = None, **fields: Any) -> Json:
    node = node_of(task_type, custom, version=version, **fields)
    return plugin_of(task_type).build(node, 0, literals(), SETTINGS)
