"""`propeller controller` as operators run it on a real API server, with the rights of `propeller install` alone.

Of several one acts, a Deployment's rolling update of two replicas ends, and log, `kubectl describe` and metrics say
what happened.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml

from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import LEASES, NAMESPACES, PODS, Client, Raw, connect
from propeller.testing import KubeApiserver, free_ports, run_kube_apiserver
from tests import assets
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_real_cluster import output_of
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
DEADLINE = 90.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")


class Cluster(msgspec.Struct, frozen=True):
    server: KubeApiserver
    home: Path
    client: Client
    """The operator's."""

    async def kubectl(self, *words: str, stdin: bytes = b"") -> str:
        command = (assets.binary("kubectl"), "--kubeconfig", self.home / "operator", "--cache-dir", self.home)
        return await output_of(*command, *words, stdin=stdin)

    async def install(self, *words: str) -> None:
        manifests = await output_of(PROPELLER, "install", "--print", *words)
        await self.kubectl("apply", "-f", "-", stdin=manifests.encode())
        await self.kubectl("wait", "--for=condition=Established", "crd/flyteworkflows.flyte.lyft.com")

    async def kubeconfig(self, account_namespace: str, context_namespace: str) -> Path:
        """That of the controller's service account, by a token that the server has issued."""
        token = (await self.kubectl("create", "token", "propeller", "-n", account_namespace)).strip()
        document = yaml.safe_load((self.home / "operator").read_text())
        document["users"][0]["user"] = {"token": token}
        document["contexts"][0]["context"]["namespace"] = context_namespace
        path = self.home / f"of-{context_namespace}"
        path.write_text(yaml.safe_dump(document))
        return path

    async def pods(self, namespace: str) -> list[Raw]:
        return list((await self.client.list(RAW_PODS, namespace)).items)

    async def end(self, namespace: str, name: str, **status: Any) -> None:
        """Be the kubelet of the one pod of the workflow, until that has ended. It has no outputs, and needs none."""
        status = status or {"phase": "Succeeded"}
        async with asyncio.timeout(DEADLINE):
            while not (pods := [pod for pod in await self.pods(namespace) if name in pod["metadata"]["name"]]):
                await asyncio.sleep(0.1)
            await self.client.patch(
                RAW_PODS, pods[0]["metadata"]["name"], namespace, body={"status": status}, subresource="status"
            )
            while (await self.state(namespace, name)).get("phase") not in {3, 5}:
                await asyncio.sleep(0.1)

    async def state(self, namespace: str, name: str) -> Raw:
        status: Raw = (await self.client.get(WORKFLOWS, name, namespace)).get("status", {})
        return status

    async def run(self, namespace: str, name: str) -> Raw:
        body = {"metadata": {"name": name}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await self.client.create(WORKFLOWS, body, namespace)
        await self.end(namespace, name)
        return await self.state(namespace, name)


class Replica(msgspec.Struct, frozen=True):
    """One process."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text; 0 if nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def ready(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while (answer := await self.ask("/readyz"))[0] != 200:
                assert self.process.returncode is None, f"it has ended: {self.log.read_text()}"
                await asyncio.sleep(0.1)
                assert answer is not None

    async def leads(self) -> bool:
        _, text = await self.ask("/metrics")
        return bool(re.search(r'^propeller_leading\{lease="[^"]+"\} 1\.0$', text, re.MULTILINE))

    async def stop(self) -> None:
        """As a kubelet does."""
        self.process.terminate()
        assert await asyncio.wait_for(self.process.wait(), DEADLINE) == 143, self.log.read_text()


@asynccontextmanager
async def replica(cluster: Cluster, kubeconfig: Path, *words: str) -> AsyncIterator[Replica]:
    (port,) = free_ports(1)
    log = cluster.home / f"{port}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *(PROPELLER, "controller", "--kubeconfig", kubeconfig, "--metrics-port", str(port)),
            *("--metadata-prefix", f"file://{cluster.home}/storage", *words),
            stderr=stream,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield Replica(process, port, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        print(log.read_text())  # pytest shows it with a failure


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    """A server of our own: the resource type and its workflows are a whole cluster's."""
    with run_kube_apiserver(tmp_path_factory.mktemp("replicas")) as started:
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver, tmp_path: Path) -> AsyncIterator[Cluster]:
    server.kubeconfig(tmp_path / "operator")
    async with connect(server.connection()) as client:
        yield Cluster(server, tmp_path, client)


async def namespace(cluster: Cluster, name: str) -> str:
    await cluster.client.create(NAMESPACES, {"metadata": {"name": name}})
    return name


async def one_leads(*replicas: Replica) -> Replica:
    async with asyncio.timeout(DEADLINE):
        while True:
            leaders = [found for found in replicas if await found.leads()]
            assert len(leaders) <= 1, "two act at a time"
            if leaders:
                return leaders[0]
            await asyncio.sleep(0.1)


async def test_of_two_controllers_with_unlike_contexts_one_leads_and_the_other_is_ready(cluster: Cluster) -> None:
    await cluster.install()
    first, second = [await cluster.kubeconfig("flyte", context) for context in ("default", "kube-system")]
    async with replica(cluster, first) as one, replica(cluster, second) as other:
        await asyncio.gather(one.ready(), other.ready())
        leader = await one_leads(one, other)
        standby = other if leader is one else one
        assert "running the workflows of" not in standby.log.read_text()
        assert await standby.ask("/readyz") == (200, "ok\n")
        assert [lease.metadata.name for lease in (await cluster.client.list(LEASES, "flyte")).items] == [
            "propeller-controller"
        ]
        await leader.stop()
        assert await one_leads(standby) is standby
        await standby.ready()


async def test_a_rolling_update_of_two_replicas_ends_and_an_execution_goes_on_through_it(cluster: Cluster) -> None:
    """As a Deployment does it with maxUnavailable 0: a new replica has to be ready before an old one is stopped."""
    await cluster.install()
    kubeconfig = await cluster.kubeconfig("flyte", "default")
    work = await namespace(cluster, "rolled")
    async with (
        replica(cluster, kubeconfig) as old,
        replica(cluster, kubeconfig) as old_too,
        replica(cluster, kubeconfig) as new,
        replica(cluster, kubeconfig) as new_too,
    ):
        await asyncio.gather(old.ready(), old_too.ready())
        body = {"metadata": {"name": "long"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await cluster.client.create(WORKFLOWS, body, work)
        while not await cluster.pods(work):
            await asyncio.sleep(0.1)
        await new.ready()
        await old.stop()
        await new_too.ready()
        await old_too.stop()
        leader = await one_leads(new, new_too)
        await leader.ready()
        await cluster.end(work, "long")
        assert len(await cluster.pods(work)) == 1, "its task ran once"


async def test_the_rights_for_one_namespace_are_enough_and_reach_no_other(cluster: Cluster) -> None:
    team, others = await namespace(cluster, "team"), await namespace(cluster, "others")
    await cluster.install("--namespace", team, "--only", team)
    kubeconfig = await cluster.kubeconfig(team, "default")
    async with replica(cluster, kubeconfig, "-n", team, "--lease", f"{team}/mine") as controller:
        await controller.ready()
        assert await one_leads(controller) is controller
        ended = await cluster.run(team, "w")
        assert ended["phase"] in {3, 5}
        log = controller.log.read_text()
        assert "forbidden" not in log, log
    as_it = f"system:serviceaccount:{team}:propeller"
    for verb, kind in (("list", "flyteworkflows"), ("create", "pods"), ("get", "leases"), ("create", "events")):
        for where, allowed in ((team, "yes"), (others, "no"), ("kube-system", "no")):
            command = ("auth", "can-i", verb, kind, "--as", as_it, "-n", where)
            said = await asyncio.to_thread(_said, cluster, *command)
            assert said == allowed, (verb, kind, where)


def _said(cluster: Cluster, *words: str) -> str:
    """kubectl auth can-i ends with 1 for no."""
    command = (str(assets.binary("kubectl")), "--kubeconfig", str(cluster.home / "operator"))
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


async def test_a_controller_says_which_lease_it_may_not_have_and_is_not_ready(cluster: Cluster) -> None:
    await cluster.install()
    kubeconfig = await cluster.kubeconfig("flyte", "default")
    async with replica(cluster, kubeconfig, "--lease", "kube-system/mine") as controller:
        async with asyncio.timeout(DEADLINE):
            while "forbidden" not in (answer := await controller.ask("/readyz"))[1]:
                await asyncio.sleep(0.1)
        assert answer[0] == 503
        assert "lease kube-system/mine" in answer[1]
        assert (await controller.ask("/healthz"))[0] == 200


async def test_log_events_and_metrics_say_how_a_workflow_failed(cluster: Cluster) -> None:
    await cluster.install()
    work = await namespace(cluster, "failing")
    async with replica(cluster, await cluster.kubeconfig("flyte", "default")) as controller:
        await controller.ready()
        body = {"metadata": {"name": "night"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await cluster.client.create(WORKFLOWS, body, work)
        terminated = {"exitCode": 137, "reason": "OOMKilled", "message": "it needed more than it had"}
        container = {
            "name": "night-a-0",
            "image": "i",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": terminated},
        }
        await cluster.end(work, "night", phase="Failed", containerStatuses=[container])
        describe = ("describe", "flyteworkflow", "night", "-n", work)
        async with asyncio.timeout(DEADLINE):
            while "Warning" not in (event := (await cluster.kubectl(*describe)).rpartition("Events:")[2]):
                await asyncio.sleep(0.2)
        where = "node a, attempt 1: USER OOMKilled: "
        failed = f"{where}[night-a-0] terminated with exit code (137), signal SIGKILL, reason OOMKilled: it needed"
        assert re.search(r"Warning\s+Failed\s+\d+s\s+propeller\s+after \S+ s: " + re.escape(failed), event), event
        log = controller.log.read_text()
        assert "failing/night accepted" in log
        assert re.search(r"failing/night failed after \S+ s: " + re.escape(failed), log)
        _, scraped = await controller.ask("/metrics")
        assert 'propeller_executions_ended_total{error_kind="USER",phase="failed",reason="OOMKilled"} 1.0' in scraped
        assert re.search(r'propeller_requests_total\{code="201",verb="create"\} [1-9]', scraped)
