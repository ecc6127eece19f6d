"""A controller whose executions run in several clusters, each an API server of its own."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from propeller.clock import LoopClock
from propeller.config import CheckpointOptions, ClusterOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded.server import ApiServer, Interceptor
from propeller.errors import Invalid, NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, Raw
from propeller.routing import Access, Table, parse_table
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.unit.workflow.drive import TASK, graph

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)


def text(*rules: str, pools: str = "", **states: str) -> str:
    """East and west, in a state each, and rules in YAML; by default everything may go to both."""
    lines = "\n".join(
        f"  - {{name: {name}, state: {states.get(name, 'active')}, connection: {{context: {name}}}}}"
        for name in ("east", "west")
    )
    given = "\n".join(f"  - {rule}" for rule in rules or ("{name: all, pool: both}",))
    return f"clusters:\n{lines}\npools:\n  - {{name: both, clusters: [east, west]}}\n{pools}\nrules:\n{given}\n"


def table(*rules: str, pools: str = "", **states: str) -> Table:
    """As `text`."""
    return parse_table(text(*rules, pools=pools, **states).encode())


@dataclass
class Opener:
    """Connects to clusters by the name of their context, in memory."""

    servers: Mapping[str, ApiServer]
    clock: LoopClock
    interceptors: dict[str, Interceptor] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        if access.context in self.broken:
            raise Invalid(f"there is no kubeconfig of {access.context}")
        if access.in_cluster:
            yield None
            return
        server = self.servers[access.context]
        yield Client(server.transport(interceptor=self.interceptors.get(access.context)), clock=self.clock)

    async def has_changed(self, access: Access) -> bool:
        return False


@dataclass(frozen=True)
class Far:
    """`user` is a client of the control cluster, `users` of the others."""

    user: Client
    users: Mapping[str, Client]
    control: ApiServer
    servers: Mapping[str, ApiServer]
    clock: LoopClock
    storage: Storage
    opener: Opener
    settings: Settings

    async def create(
        self,
        name: str,
        *nodes: dict[str, Any],
        labels: Mapping[str, str] = {},
        finalizers: list[str] | None = None,
        **fields: Any,
    ) -> Raw:
        metadata = {"name": name, "labels": dict(labels), "finalizers": finalizers or []}
        body = {"metadata": metadata, "spec": graph(*nodes, **fields), "tasks": {"t": TASK}}
        return await self.user.create(WORKFLOWS, body, "ns")

    async def status(self, name: str) -> Raw:
        status: Raw = (await self.user.get(WORKFLOWS, name, "ns")).get("status", {})
        return status

    async def pods(self, cluster: str) -> dict[str, Raw]:
        """Those of a cluster that nobody has told to stop, by name."""
        pods = (await self.users[cluster].list(RAW_PODS, "ns")).items
        return {pod["metadata"]["name"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    async def where(self, pod: str) -> str:
        """The cluster that has a pod, "" if none has."""
        found = [name for name in self.users if pod in await self.pods(name)]
        assert len(found) < 2, f"{pod} is in {found}"
        return found[0] if found else ""

    async def report(self, cluster: str, pod: str, **status: Any) -> None:
        await self.users[cluster].patch(RAW_PODS, pod, "ns", body={"status": status}, subresource="status")

    async def has_workflow(self, name: str) -> bool:
        try:
            await self.user.get(WORKFLOWS, name, "ns")
        except NotFound:
            return False
        return True

    @asynccontextmanager
    async def controller(
        self, routes: Table | None, interceptor: Interceptor | None = None, *, settings: Settings | None = None
    ) -> AsyncIterator[WorkflowController]:
        client = Client(self.control.transport(interceptor=interceptor), clock=self.clock)
        settings = settings or self.settings
        made = WorkflowController(client, self.storage, settings, clock=self.clock, opener=self.opener)
        if routes is not None:
            made.route_by(routes)
        async with made.running() as controller:
            yield controller


@asynccontextmanager
async def far(**options: float) -> AsyncIterator[Far]:
    clock = LoopClock()
    settings = Settings(
        checkpoint=CheckpointOptions(max_lag=30.0),
        storage=StorageOptions(metadata_prefix="memory://m"),
        clusters=msgspec.structs.replace(ClusterOptions(), **options),
    )
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(ApiServer(clock=clock, randomness=random.Random(number)))
            for number in range(3)
        ]
        control, *others = servers
        storage = await stack.enter_async_context(Storage(settings.storage, stores={"memory": MemoryStore()}))
        user = Client(control.transport(), clock=clock)
        await user.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        by_name = dict(zip(("east", "west"), others, strict=True))
        users = {name: Client(server.transport(), clock=clock) for name, server in by_name.items()}
        for client in (user, *users.values()):
            await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        yield Far(user, users, control, by_name, clock, storage, Opener(by_name, clock), settings)
