"""A controller at work on an API server of its own, and a user beside it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from propeller.clock import LoopClock
from propeller.config import CheckpointOptions, KueueOptions, RedisOptions, ResourceOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, Recorder, WorkflowController, workflow_crd
from propeller.embedded.server import ApiServer, Interceptor
from propeller.errors import NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, ClientOptions, Raw, Request
from propeller.storage import MemoryStore, Storage, StorageOptions, Store
from propeller.telemetry import Metrics
from tests.unit.workflow.drive import TASK, graph

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)


@dataclass(frozen=True)
class Bench:
    user: Client
    clock: LoopClock
    server: ApiServer
    storage: Storage
    settings: Settings
    namespace: str = "ns"
    metrics: Metrics = field(default_factory=Metrics)
    """Of the controllers that run here."""

    async def create(self, *nodes: dict[str, Any], **fields: Any) -> Raw:
        """A workflow `ns/w` of these nodes; `fields` are the graph's."""
        return await self.user.create(
            WORKFLOWS, {"metadata": {"name": "w"}, "spec": graph(*nodes, **fields), "tasks": {"t": TASK}}, "ns"
        )

    async def report(self, pod: str, **status: Any) -> None:
        """What a kubelet would say of a pod."""
        await self.user.patch(RAW_PODS, pod, "ns", body={"status": status}, subresource="status")

    async def status(self) -> Raw:
        status: Raw = (await self.user.get(WORKFLOWS, "w", "ns")).get("status", {})
        return status

    async def pods(self) -> dict[str, Raw]:
        """Those that nobody has told to stop, by name."""
        pods = (await self.user.list(RAW_PODS, "ns")).items
        return {pod["metadata"]["name"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    async def has_pod(self, name: str) -> bool:
        try:
            return "deletionTimestamp" not in (await self.user.get(RAW_PODS, name, "ns"))["metadata"]
        except NotFound:
            return False

    @asynccontextmanager
    async def controller(
        self, interceptor: Interceptor | None = None, *, namespace: str | None = None, recorder: Recorder | None = None
    ) -> AsyncIterator[WorkflowController]:
        client = Client(self.server.transport(interceptor=interceptor), self.settings.client, clock=self.clock)
        made = WorkflowController(
            client,
            self.storage,
            self.settings,
            namespace=namespace,
            clock=self.clock,
            metrics=self.metrics,
            recorder=recorder,
        )
        async with made.running() as controller:
            yield controller

    def measured(self, name: str, **labels: str) -> float:
        """The sum of a metric's values over all labels but those given."""
        samples = (sample for family in self.metrics.registry.collect() for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def reconciles(self) -> int:
        return round(self.measured("propeller_rounds_total"))


@asynccontextmanager
async def bench(
    max_lag: float = 1.0,
    *,
    client: ClientOptions | None = None,
    store: Store | None = None,
    resources: ResourceOptions | None = None,
    kueue: KueueOptions | None = None,
    redis: RedisOptions | None = None,
) -> AsyncIterator[Bench]:
    clock = LoopClock()
    settings = Settings(
        client=client or ClientOptions(),
        checkpoint=CheckpointOptions(max_lag=max_lag),
        storage=StorageOptions(metadata_prefix="memory://m"),
        resources=resources or ResourceOptions(),
        kueue=kueue or KueueOptions(),
        redis=redis or RedisOptions(),
    )
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(settings.storage, stores={"memory": store or MemoryStore()}) as storage,
    ):
        user = Client(server.transport(), clock=clock)
        await user.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await user.create(NAMESPACES, {"metadata": {"name": "ns"}})
        yield Bench(user, clock, server, storage, settings)


def scheduled(request: Request) -> Request:
    """The create of a pod as if it were bound to a node at once: from then on its end is the kubelet's to tell."""
    pod = orjson.loads(request.body)
    pod["spec"]["nodeName"] = "n"
    return msgspec.structs.replace(request, body=orjson.dumps(pod))
