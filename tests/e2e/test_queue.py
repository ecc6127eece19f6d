"""`propeller queue` asks a controller that works on a real API server: at its port, and through the server's proxy."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from propeller.kube import PODS, Raw, connect
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_limits import has_pods, start
from tests.e2e.test_operating import DEADLINE, WORKFLOWS, Cluster, Replica, namespace, replica
from tests.e2e.test_real_cluster import output_of

RAW_PODS = PODS.typed(Raw)
SETTINGS = """
resources:
  pools: [{name: hive, capacity: 2}]
  tenants: [{name: ml, weight: 2}]
  rules: [{pools: {hive: 1}}]
"""

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    with run_kube_apiserver(tmp_path_factory.mktemp("queue")) as started:
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver, tmp_path: Path) -> AsyncIterator[Cluster]:
    server.kubeconfig(tmp_path / "operator")
    async with connect(server.connection()) as client:
        made = Cluster(server, tmp_path, client)
        await made.install()
        yield made


@pytest.fixture
async def controller(cluster: Cluster) -> AsyncIterator[Replica]:
    """One whose port is reached from everywhere, as in a pod."""
    settings = cluster.home / "settings.yaml"
    settings.write_text(SETTINGS)
    words = ("--config", str(settings), "--metrics-host", "0.0.0.0")
    async with replica(cluster, await cluster.kubeconfig("flyte", "default"), *words) as started:
        await started.ready()
        yield started
        for workflow in (await cluster.client.list(WORKFLOWS)).items:
            metadata = workflow["metadata"]
            await cluster.client.delete(WORKFLOWS, metadata["name"], metadata["namespace"])
        for pod in (await cluster.client.list(RAW_PODS)).items:
            metadata = pod["metadata"]
            await cluster.client.delete(RAW_PODS, metadata["name"], metadata["namespace"], grace_seconds=0)
        await started.stop()


async def fails(*words: object) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(*map(str, words), stderr=asyncio.subprocess.PIPE)
    _, error = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, error.decode()


def own_address() -> str:
    """This machine's, as a kubelet would give it to a pod of the host's network: the proxy refuses 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but 127.0.0.1, which the API server's proxy refuses")
        return str(probe.getsockname()[0])


async def test_who_waits_for_what_is_shown_at_the_controllers_port(cluster: Cluster, controller: Replica) -> None:
    where = await namespace(cluster, "queued")
    await start(cluster, where, "flood", 5, "etl")
    await has_pods(cluster, where, 2)
    await start(cluster, where, "small", 1, "ml")
    url = f"http://127.0.0.1:{controller.port}"

    async def all_wait() -> bool:
        page = json.loads(await output_of(PROPELLER, "queue", "--url", url, "--output", "json"))
        assert page["waiting"] == 4
        rows = {(claim["tenant"], claim["position"]): claim["resource"] for claim in page["claims"]}
        assert rows["ml/production", 1] == "small-n0-0"
        assert {("etl/production", place) for place in (1, 2, 3)} < rows.keys()
        assert page["pools"] == [{"name": "hive", "held": 2, "capacity": 2, "waiting": 4, "grantsPerSecond": None}]
        return True

    await eventually(all_wait, deadline=DEADLINE)
    lines = (await output_of(PROPELLER, "queue", "--url", url, "--tenant", "ml")).splitlines()
    assert re.fullmatch(r"hive +2 +2 +4 +-", lines[1]), lines
    assert re.fullmatch(r"ml/production +1 +0\.0% +66\.7% +- +hive=1", lines[5]), lines
    assert re.fullmatch(rf"hive +ml/production +1 +\d+s +unknown +1 +{where}/small-n0-0", lines[-1]), lines
    code, error = await fails(PROPELLER, "queue", "--url", url, "--pool", "nope")
    assert (code, "'nope' is no pool" in error) == (2, True), error

    _, metrics = await controller.ask("/metrics")
    assert 'propeller_pool_held{pool="hive"} 2.0' in metrics
    assert 'propeller_pool_waiting{pool="hive"} 4.0' in metrics
    assert 'propeller_tenant_share_ideal{tenant="ml"}' in metrics
    assert 'tenant="etl"' not in metrics, "the limits do not name it"


async def test_the_queue_is_watched_as_it_moves(cluster: Cluster, controller: Replica) -> None:
    where = await namespace(cluster, "watched")
    await start(cluster, where, "moves", 3, "etl")
    await has_pods(cluster, where, 2)
    words = (
        "queue",
        "--watch",
        "--interval",
        "0.2",
        "--output",
        "json",
        "--url",
        f"http://127.0.0.1:{controller.port}",
    )
    process = await asyncio.create_subprocess_exec(PROPELLER, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while json.loads(await process.stdout.readline())["waiting"] != 1:
                pass
            (first, *_) = await cluster.pods(where)
            name = first["metadata"]["name"]
            await cluster.client.patch(
                RAW_PODS, name, where, body={"status": {"phase": "Succeeded"}}, subresource="status"
            )
            while json.loads(await process.stdout.readline())["waiting"]:
                pass
    finally:
        process.terminate()
        assert await process.wait() == 143


async def test_the_pod_that_has_the_lease_is_asked_through_the_servers_proxy(
    cluster: Cluster, controller: Replica
) -> None:
    words = (PROPELLER, "queue", "--kubeconfig", cluster.home / "operator", "--port", controller.port)
    code, error = await fails(*words)
    assert code == 3
    assert f"there is no pod {platform.node()} in namespace flyte" in error
    assert f"--url http://HOST:{controller.port}" in error

    name = platform.node()
    pod = {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "controller", "image": "propeller"}], "nodeName": "this"},
    }
    await cluster.client.create(RAW_PODS, pod, "flyte")
    address = {"podIP": own_address(), "podIPs": [{"ip": own_address()}], "phase": "Running"}
    await cluster.client.patch(RAW_PODS, name, "flyte", body={"status": address}, subresource="status")
    page = json.loads(await output_of(*words, "--output", "json", "--first", "3", "--tenant", "ml"))
    assert [pool["name"] for pool in page["pools"]] == ["hive"]

    code, error = await fails(*words[:-1], 1)
    assert code == 3
    assert "--metrics-host 0.0.0.0" in error
    assert f"kubectl port-forward -n flyte pod/{name} 1" in error
