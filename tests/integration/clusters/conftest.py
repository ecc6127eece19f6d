"""Three real API servers: one of the workflows, which runs some of them too, and two that only run."""

from __future__ import annotations

import asyncio
import base64
import random
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from propeller.clusters import Connector
from propeller.config import CheckpointOptions, ClusterOptions, ControllerOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.errors import NotFound, PropellerError
from propeller.informers import Change, Informer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, SECRETS, Client, Raw, connect
from propeller.routing import Table, parse_table
from propeller.status import decode
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
HOME, EAST, WEST = "home", "east", "west"
DEADLINE = 180.0
"""Seconds: a bound on hangs, on a machine that runs three API servers."""

ENDED = {3, 5, 6}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KubeApiserver]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(run_kube_apiserver(tmp_path_factory.mktemp(name))) for name in (HOME, EAST, WEST)
        }


@dataclass
class World:
    """The clusters of one test, in a namespace of its own, with a kubelet each that lets every pod succeed."""

    servers: Mapping[str, KubeApiserver]
    clients: Mapping[str, Client]
    namespace: str
    storage: Storage
    settings: Settings
    seconds: tuple[float, float] = (0.2, 1.0)
    """How long pods run."""
    where: dict[str, set[str]] = field(default_factory=dict)
    """By pod, the clusters in which it ever was."""
    succeeded: set[str] = field(default_factory=set)
    most: Counter[str] = field(default_factory=Counter)
    """The most pods that ran at once, by cluster."""
    _running: Counter[str] = field(default_factory=Counter)

    def secret_of(self, cluster: str) -> str:
        return f"{self.namespace}-{cluster}"

    def kubeconfig(self, cluster: str, *, ca: bytes | None = None, token: str | None = None) -> dict[str, str]:
        server = self.servers[cluster]
        authority = base64.b64encode(ca or server.ca).decode()
        document = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority-data": authority}}],
            "users": [{"name": "u", "user": {"token": token or server.token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        return {"kubeconfig": base64.b64encode(yaml.safe_dump(document).encode()).decode()}

    async def put_secret(self, cluster: str, data: dict[str, str]) -> None:
        body = {"metadata": {"name": self.secret_of(cluster)}, "data": data}
        await self.clients[HOME].create(SECRETS, body, self.namespace)

    def table(self, east: str = "", west: str = "") -> Table:
        """`east` and `west` are further fields of these clusters, in YAML."""
        return parse_table(self.table_text(east, west).encode())

    def table_text(self, east: str = "", west: str = "") -> str:
        more = {EAST: east or "state: active", WEST: west or "state: active"}
        remote = "\n".join(
            f"  - {{name: {name}, connection: {{secret: {{namespace: {self.namespace}, name: {self.secret_of(name)}}}}}"
            f", {more[name]}}}"
            for name in (EAST, WEST)
        )
        return f"""
clusters:
  - {{name: home, connection: {{inCluster: true}}}}
{remote}
pools:
  - {{name: sealed, clusters: [home]}}
  - {{name: shared, clusters: [east, west]}}
rules:
  - {{name: secrets, pool: sealed, isolate: true, match: {{projects: [secret]}}}}
  - {{name: rest, pool: shared}}
"""

    @asynccontextmanager
    async def controller(self, table: Table) -> AsyncIterator[WorkflowController]:
        connection = self.servers[HOME].connection()
        opener = Connector(self.clients[HOME], connection, self.settings.client)
        async with connect(connection) as client:
            made = WorkflowController(client, self.storage, self.settings, namespace=self.namespace, opener=opener)
            made.route_by(table)
            async with made.running():
                yield made

    @asynccontextmanager
    async def process(self, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run `propeller controller` as a process, which is killed with SIGKILL when the block is left."""
        (directory / "table.yaml").write_text(self.table_text())
        (directory / "kubeconfig").write_bytes(base64.b64decode(self.kubeconfig(HOME)["kubeconfig"]))
        changed = {
            "storage": {"metadata_prefix": f"file://{directory / 'storage'}"},
            "routing": {"file": str(directory / "table.yaml")},
            "checkpoint": {"max_lag": self.settings.checkpoint.max_lag},
            "controller": {"stop_margin": self.settings.controller.stop_margin},
            "clusters": msgspec.to_builtins(self.settings.clusters),
        }
        (directory / "settings.yaml").write_text(yaml.safe_dump(changed))
        with (directory / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(Path(sys.executable).with_name("propeller"), "controller", "--no-elect", "--metrics-port", "0"),
                *("--kubeconfig", directory / "kubeconfig", "--config", directory / "settings.yaml"),
                *("--namespace", self.namespace),
                stderr=log,
            )
            try:
                yield process
                assert process.returncode is None, (directory / "log").read_text()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def create(self, name: str, *tasks: str, project: str = "open", **fields: Any) -> None:
        nodes = (task(one, retry={"minAttempts": 3}) for one in tasks)
        body = {
            "metadata": {"name": name, "labels": {"project": project}},
            "spec": graph(*nodes, **fields),
            "tasks": {"t": TASK},
        }
        await self.clients[HOME].create(WORKFLOWS, body, self.namespace)

    async def statuses(self) -> dict[str, Raw]:
        page = await self.clients[HOME].list(WORKFLOWS, self.namespace, limit=0)
        return {one["metadata"]["name"]: one.get("status", {}) for one in page.items}

    async def until_all_have_succeeded(self) -> dict[str, Raw]:
        async def have_ended() -> bool:
            return all(one.get("phase") in ENDED for one in (await self.statuses()).values())

        await eventually(have_ended, deadline=DEADLINE, interval=0.5)
        statuses = await self.statuses()
        assert {name: one["state"] for name, one in statuses.items() if one["phase"] != 3} == {}
        return statuses

    def attempts(self, status: Raw) -> bytes:
        """The number of the attempt that counts, of each node."""
        return decode(base64.b64decode(status["nodes"])).attempts

    async def kubelet(self, cluster: str) -> None:
        async with asyncio.TaskGroup() as group:
            known: set[str] = set()

            def changed(change: Change[Raw]) -> None:
                pod = change.new
                if pod is None or pod["metadata"]["uid"] in known or "deletionTimestamp" in pod["metadata"]:
                    return
                known.add(pod["metadata"]["uid"])
                self.where.setdefault(pod["metadata"]["name"], set()).add(cluster)
                group.create_task(self._run(cluster, pod["metadata"]["name"]))

            async with Informer(self.clients[cluster], RAW_PODS, namespace=self.namespace) as informer:
                informer.subscribe(changed)
                await asyncio.Event().wait()

    async def _run(self, cluster: str, pod: str) -> None:
        self._running[cluster] += 1
        self.most[cluster] = max(self.most[cluster], self._running[cluster])
        await asyncio.sleep(random.uniform(*self.seconds))
        body = {"status": {"phase": "Succeeded"}}
        while True:
            try:
                await self.clients[cluster].patch(RAW_PODS, pod, self.namespace, body=body, subresource="status")
                self.succeeded.add(pod)
                break
            except NotFound:
                break  # it was told to stop
            except PropellerError:
                await asyncio.sleep(1.0)  # its API server is away
        self._running[cluster] -= 1


@pytest.fixture
async def world(servers: dict[str, KubeApiserver]) -> AsyncIterator[World]:
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    settings = Settings(
        storage=StorageOptions(metadata_prefix="memory://m"),
        checkpoint=CheckpointOptions(max_lag=1.0),
        controller=ControllerOptions(stop_margin=5.0),
        clusters=ClusterOptions(
            probe=1.0, probe_deadline=2.0, unhealthy_after=4.0, healthy_after=3.0, grace=10.0, orphans_after=1.0
        ),
    )
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(connect(server.connection())) for name, server in servers.items()
        }
        for client in clients.values():
            await client.create(NAMESPACES, {"metadata": {"name": namespace}})
        with suppress(PropellerError):  # an earlier test of this module has made it
            await clients[HOME].create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await eventually(lambda: clients[HOME].has_subresource(WORKFLOWS, "status"), deadline=DEADLINE)
        storage = await stack.enter_async_context(Storage(settings.storage, stores={"memory": MemoryStore()}))
        found = World(servers, clients, namespace, storage, settings)
        kubelets = [asyncio.create_task(found.kubelet(name)) for name in clients]
        yield found
        for one in kubelets:
            one.cancel()
        await asyncio.wait(kubelets)
