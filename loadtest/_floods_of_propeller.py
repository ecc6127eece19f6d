"""Floods for propeller's controller, whose pool of tokens has as many tokens as there are slots; and the floor: the
same pods, created without any queue.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from loadtest import workflows
from loadtest._flood import SMALL, WEIGHTS, Run
from loadtest._floor import pod_of_a_task
from loadtest._options import PROPELLER
from loadtest._process import ControllerProcess, started
from loadtest._scenarios import install
from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import PODS, Client
from propeller.testing import KubeApiserver

CREATORS = 11
"""Requests of one tenant at once: with three tenants, as many as the floor's client has."""

MAX_INLINE = 500
"""Nodes: the closure of a larger fan-out is offloaded, as FlyteAdmin can do: else each status write has it along."""

POOL = "slots"


class Shape(StrEnum):
    """How a tenant's pods are asked for."""

    FAN_OUT = "one workflow of many nodes"
    MAP = "one map task"
    WORKFLOWS = "workflows of one pod"


def settings(slots: int) -> dict[str, Any]:
    """The controller's settings for so many slots."""
    return {
        "resources": {
            "pools": [{"name": POOL, "capacity": slots}],
            "rules": [{"pools": {POOL: 1}}],
            "tenants": [{"name": name, "weight": weight} for name, weight in WEIGHTS.items()],
        }
    }


class Propeller:
    """A `loadtest._flood.Queue`."""

    def __init__(self, shape: Shape) -> None:
        self.name = f"propeller, {shape}"
        self._shape = shape
        self._directory = Path()
        self._controller: ControllerProcess | None = None
        self._slots = 0

    @asynccontextmanager
    async def at_work(self, server: KubeApiserver, client: Client, directory: Path, run: Run) -> AsyncIterator[None]:
        await install(client, flyte=False)
        config = directory / "settings.yaml"
        config.write_text(yaml.safe_dump(settings(run.slots)))
        kubeconfig = server.kubeconfig(directory / "kubeconfig")
        self._directory, self._slots = directory, run.slots
        async with started(f"{PROPELLER} --config {config}", kubeconfig, directory) as controller:
            await controller.ready()
            self._controller = controller
            await self.probe(client, -1)  # the first workflow of a process costs more
            await asyncio.sleep(2.0)
            yield
            self._controller = None

    async def flood(self, client: Client, tenant: str, run: Run) -> None:
        creates = (self._create(client, resource) for resource in self._resources(tenant, run.pods))
        await create_all(creates, at_once=1)  # more, of whole workflows, and the API server is late with its watches

    async def probe(self, client: Client, number: int) -> str:
        name = f"probe{number}-" if number >= 0 else "warm-"
        (resource,) = workflows.resources(workflows.parallel(1), 1, name, project=SMALL, namespace=SMALL)
        await self._create(client, resource)
        return f"{SMALL}/{resource['metadata']['name']}-n0-0"

    def cpu(self) -> float:
        return self._controller.cpu if self._controller is not None else 0.0

    async def held(self, client: Client) -> float:
        """All, as long as pods wait."""
        return self._slots

    async def _create(self, client: Client, resource: dict[str, Any]) -> None:
        metadata = resource["metadata"]
        namespace = metadata["namespace"]
        await client.create(FLYTE_WORKFLOWS, resource, namespace)

    def _resources(self, tenant: str, pods: int) -> Iterator[dict[str, Any]]:
        count = 1
        match self._shape:
            case Shape.FAN_OUT:
                template = workflows.parallel(pods)
            case Shape.MAP:
                template = workflows.mapped(pods)
            case Shape.WORKFLOWS:
                template, count = workflows.parallel(1), pods
        offloaded = ""
        if self._shape is Shape.FAN_OUT and pods > MAX_INLINE:
            offloaded = workflows.offload(template, self._directory, tenant)
        for resource in workflows.resources(template, count, "w", project=tenant, namespace=tenant):
            if offloaded:
                static = {"spec", "tasks", "subWorkflows"}
                resource = {key: value for key, value in resource.items() if key not in static}
                resource["workflowClosureReference"] = offloaded
            yield resource


class Floor:
    """No queue: each pod begins as soon as it is created."""

    name = "no queue"

    @asynccontextmanager
    async def at_work(self, server: KubeApiserver, client: Client, directory: Path, run: Run) -> AsyncIterator[None]:
        yield

    async def flood(self, client: Client, tenant: str, run: Run) -> None:
        await create_all(create_pod(client, tenant, f"w-n{number}-0") for number in range(run.pods))

    async def probe(self, client: Client, number: int) -> str:
        return await create_pod(client, SMALL, f"probe-n{number}-0")

    def cpu(self) -> float:
        return 0.0

    async def held(self, client: Client) -> float:
        return 0.0


async def create_pod(client: Client, namespace: str, name: str, **labels: str) -> str:
    """A task's pod, as our controller makes it; returns its key."""
    pod = _pod()
    metadata = pod["metadata"] | {"name": name, "labels": pod["metadata"]["labels"] | labels}
    await client.create(PODS, pod | {"metadata": metadata}, namespace)
    return f"{namespace}/{name}"


_pod = functools.cache(pod_of_a_task)


async def create_all(creates: Iterable[Awaitable[object]], at_once: int = CREATORS) -> None:
    """Send requests, so many at once."""
    left = iter(creates)

    async def work() -> None:
        for create in left:  # one iterator for all
            await create

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
