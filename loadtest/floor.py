"""The bare client floor: a process that creates pods and reads their events, and does nothing else.

`python -m loadtest.floor KUBECONFIG NAMESPACE PODS` prints the seconds of CPU for one pod.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import uvloop

from propeller.kube import PODS, Client, connect, load_connection

AT_ONCE = 32


async def floor(kubeconfig: str, namespace: str, pods: int) -> float:
    async with connect(load_connection(kubeconfig)) as client:
        version = (await client.list(PODS, namespace, limit=1)).resource_version
        began = time.process_time()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_read(client, namespace, version, pods))
            left = iter(range(pods))
            for _ in range(AT_ONCE):
                group.create_task(_create(client, namespace, left))
            await reading
        return (time.process_time() - began) / pods


async def _create(client: Client, namespace: str, left: Iterator[int]) -> None:
    for number in left:  # one iterator for all
        pod = {
            "metadata": {"name": f"floor-n{number}-0", "labels": {"execution-id": "floor"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "registry.example/nothing:v1"}]},
        }
        await client.create(PODS, pod, namespace)


async def _read(client: Client, namespace: str, version: str, pods: int) -> None:
    """Until the end of every pod has been seen."""
    ended: set[str] = set()
    while len(ended) < pods:
        async for event in client.watch(PODS, namespace, resource_version=version):
            version = event.object.metadata.resource_version or version
            if event.object.status.phase == "Succeeded":
                ended.add(event.object.metadata.name)
                if len(ended) == pods:
                    return


if __name__ == "__main__":
    print(uvloop.run(floor(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
