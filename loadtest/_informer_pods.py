"""Pods as a cluster holds them, 4.5 KB of JSON each, and a process that creates and changes them.

`python -m loadtest._informer_pods KUBECONFIG PODS 0` makes them: created by one manager, their status by another, so
that managedFields are as the API server writes them. With an update's number (from 1) in the place of 0 it changes the
status of each of the first PODS once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from propeller.clock import rfc3339
from propeller.kube import NAMESPACES, PODS, Client, connect, load_connection

NAMESPACE = "informers"
MAX_CONCURRENT_WRITES = 16
PODS_OF_AN_OWNER = 10

_BEGAN = 1_793_613_600  # seconds: 2 November 2026, 10 o'clock; a pod a second from then on
_CONDITIONS = {"PodReadyToStartContainers": 2, "Initialized": 0, "Ready": 3, "ContainersReady": 3, "PodScheduled": 0}
"""And the seconds after which a pod gets there."""
_DIGEST = "5c40b3c27b9f13c873fefb2139765c56ce97fd50230f1f2d5c91e55dec171907"


def pod(number: int, *, variables: int = 1) -> dict[str, Any]:
    """A task's pod on its node; `variables` of its environment make it as large as it should be."""
    owner = number // PODS_OF_AN_OWNER
    return {
        "metadata": {
            "name": name_of(number),
            "namespace": NAMESPACE,
            "labels": {
                "execution-id": f"f{owner:011}",
                "node-id": f"n{number % PODS_OF_AN_OWNER}",
                "task-name": "workflows-example-train",
                "workflow-name": "workflows-example-main",
                "project": "flytesnacks",
                "domain": "development",
            },
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "ownerReferences": [
                {
                    "apiVersion": "flyte.lyft.com/v1alpha1",
                    "kind": "flyteworkflow",
                    "name": f"f{owner:011}",
                    "uid": f"5ad5b7b2-3f6f-4f5b-8d4c-{owner:012}",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "nodeName": f"node-{number % 100}",
            "containers": [
                {
                    "name": name_of(number),
                    "image": "registry.example/team/image:v1.2.3",
                    "args": ["pyflyte-execute", "--inputs", f"s3://bucket/metadata/f{owner:011}/inputs.pb"],
                    "env": [{"name": f"FLYTE_INTERNAL_{n}", "value": "flytesnacks"} for n in range(variables)],
                    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
                }
            ],
        },
    }


def status(number: int, update: int = 0) -> dict[str, Any]:
    """A status as a kubelet reports it; another one for each `update`."""
    began = _BEGAN + number
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    conditions = [
        {"type": type_, "status": "True", "lastProbeTime": None, "lastTransitionTime": rfc3339(began + after)}
        for type_, after in _CONDITIONS.items()
    ]
    return {
        "phase": "Running",
        "startTime": rfc3339(began),
        "hostIP": "10.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": [
            {
                "name": name_of(number),
                "ready": True,
                "started": True,
                "restartCount": update,
                "image": "registry.example/team/image:v1.2.3",
                "imageID": f"registry.example/team/image@sha256:{_DIGEST}",
                "containerID": f"containerd://{_DIGEST}",
                "state": {"running": {"startedAt": rfc3339(began + 2)}},
                "lastState": {},
            }
        ],
    }


def name_of(number: int) -> str:
    return f"f{number // PODS_OF_AN_OWNER:011}-n{number % PODS_OF_AN_OWNER}-0"


async def create(client: Client, pods: int, *, variables: int = 1) -> None:
    """That many, running, in a namespace that is made for them."""
    await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})

    async def one(number: int) -> None:
        await client.create(PODS, pod(number, variables=variables), NAMESPACE)
        await _report(client, number, 0)

    await _each(pods, one)


async def update(client: Client, pods: int, number: int) -> None:
    """Update `number` of the first so many, each once."""
    await _each(pods, lambda each: _report(client, each, number))


async def _report(client: Client, number: int, update: int) -> None:
    body = {"status": status(number, update)}
    await client.patch(PODS, name_of(number), NAMESPACE, body=body, subresource="status", field_manager="kubelet")


async def _each(count: int, work: Callable[[int], Awaitable[None]]) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for number in left:  # one iterator for all
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(MAX_CONCURRENT_WRITES):
            group.create_task(worker())


async def _main(kubeconfig: str, pods: int, number: int) -> None:
    async with connect(load_connection(kubeconfig)) as client:
        if number:
            await update(client, pods, number)
        else:
            await create(client, pods)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
