"""Floods for Kueue: the same pods, in a queue of its tenant, each by itself or in groups."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loadtest._flood import SMALL, WEIGHTS, Run
from loadtest._floods_of_propeller import create_all
from loadtest._floor import pod_of_a_task
from loadtest._kueue import QUEUE_LABEL, Kueue, create_queues, reserved, running_kueue
from propeller.kube import PODS, Client
from propeller.testing import KubeApiserver

GROUP_LABEL = "kueue.x-k8s.io/pod-group-name"
GROUP_SIZE = "kueue.x-k8s.io/pod-group-total-count"

LOOK_EVERY = 1.0
"""Seconds between two reads of the queues' status."""


class KueuePods:
    """A `loadtest._flood.Queue`. `group` pods make up a group; 1: none do."""

    def __init__(self, group: int = 1) -> None:
        self.name = "Kueue, plain pods" if group == 1 else f"Kueue, groups of {group}"
        self._group = group
        self._kueue: Kueue | None = None
        self._reserved = (0.0, -LOOK_EVERY)

    @asynccontextmanager
    async def at_work(self, server: KubeApiserver, client: Client, directory: Path, run: Run) -> AsyncIterator[None]:
        async with running_kueue(server, client, directory) as kueue:
            await create_queues(client, {**WEIGHTS, SMALL: 1.0}, run.slots)
            self._kueue = kueue
            yield
            self._kueue = None

    async def flood(self, client: Client, tenant: str, run: Run) -> None:
        count = run.pods // self._group * self._group
        await create_all(self._create(client, tenant, number) for number in range(count))

    async def probe(self, client: Client, number: int) -> str:
        return await _create(client, SMALL, f"probe-n{number}-0", {}, {})

    def cpu(self) -> float:
        return self._kueue.cpu if self._kueue is not None else 0.0

    async def held(self, client: Client) -> float:
        held, at = self._reserved
        if time.perf_counter() >= at + LOOK_EVERY:
            self._reserved = held, _ = await reserved(client), time.perf_counter()
        return held

    async def _create(self, client: Client, tenant: str, number: int) -> None:
        if self._group == 1:
            await _create(client, tenant, f"w-n{number}-0", {}, {})
            return
        labels = {GROUP_LABEL: f"{tenant}-g{number // self._group}"}
        await _create(client, tenant, f"w-n{number}-0", labels, {GROUP_SIZE: str(self._group)})


async def _create(client: Client, tenant: str, name: str, labels: dict[str, str], annotations: dict[str, str]) -> str:
    pod = _pod()
    metadata: dict[str, Any] = pod["metadata"]
    metadata = metadata | {
        "name": name,
        "labels": metadata["labels"] | {QUEUE_LABEL: tenant} | labels,
        "annotations": metadata["annotations"] | annotations,
    }
    await client.create(PODS, pod | {"metadata": metadata}, tenant)
    return f"{tenant}/{name}"


@functools.cache
def _pod() -> dict[str, Any]:
    """A task's pod that takes one CPU of the quota."""
    pod = pod_of_a_task()
    for container in pod["spec"]["containers"]:
        container["resources"] = {"requests": {"cpu": "1"}}
    return pod
