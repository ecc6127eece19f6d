"""In a cluster that only runs tasks the controller uses every right of `propeller install --execution-cluster`, and no
other, as the audit log of a real API server says; with a routing table, it needs in its own what `install` grants.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import yaml

from propeller.config import RoutingOptions, Settings
from propeller.handlers.plugins import HOLD_FINALIZER
from propeller.kube import POD_TEMPLATES, RESOURCE_QUOTAS, SECRETS, connect
from propeller.manifests import Part, parts_of
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.deploy.cluster import audit_flags
from tests.deploy.test_rights import CHECKED_BY_ADMISSION, Right, create, ended, granted, pod_of, refused, used
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_operating import RAW_PODS, WORKFLOWS, Cluster, namespace, replica
from tests.e2e.test_real_cluster import output_of
from tests.unit.workflow.drive import TASK, graph, task

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")

HOME, EAST = "home", "east"
SECRET = "cluster-east"
ROUTES = f"""
clusters:
  - {{name: east, connection: {{secret: {{namespace: flyte, name: {SECRET}}}}}}}
pools:
  - {{name: all, clusters: [east]}}
rules:
  - {{name: all, pool: all}}
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[KubeApiserver, Path]]]:
    """With the directory of each, which has its audit log."""
    with ExitStack() as stack:
        homes = {name: tmp_path_factory.mktemp(name) for name in (HOME, EAST)}
        yield {
            name: (stack.enter_context(run_kube_apiserver(home, audit_flags(home))), home)
            for name, home in homes.items()
        }


@pytest.fixture
async def clusters(servers: dict[str, tuple[KubeApiserver, Path]]) -> AsyncIterator[dict[str, Cluster]]:
    async with AsyncExitStack() as stack:
        found = {}
        for name, (server, home) in servers.items():
            server.kubeconfig(home / "operator")
            found[name] = Cluster(server, home, await stack.enter_async_context(connect(server.connection())))
        yield found


async def test_a_controller_uses_every_right_that_it_has_in_an_execution_cluster_and_no_other(
    clusters: dict[str, Cluster],
) -> None:
    home, east = clusters[HOME], clusters[EAST]
    await _install(home, east)
    for cluster in clusters.values():
        await namespace(cluster, "work")
    kubeconfig = await home.kubeconfig("flyte", "default")
    async with replica(home, kubeconfig, "--config", str(home.home / "settings.toml")) as controller:
        await controller.ready()
        await one_whose_pod_somebody_deletes(home, east)
        await one_that_fails_while_another_node_runs(home, east)
        await one_whose_pod_exists_already(home, east)
        await one_whose_task_names_a_pod_template(home, east)
        await one_that_waits_for_a_quota(home, east)
    given = granted([Part.TASKS, Part.QUOTAS])
    assert used(east.home) - given == set(), "requests without a right"
    assert given - used(east.home) == set(), "rights without a request"
    of_home = granted([*parts_of(Settings(routing=RoutingOptions(file="routes.yaml"))), Part.LEASES])
    of_home |= {("", "secrets", "get")}
    assert used(home.home) - of_home - CHECKED_BY_ADMISSION == set()
    assert {("", "secrets", "get"), ("", "namespaces", "get")} <= used(home.home)
    assert [*refused(home.home), *refused(east.home)] == []


async def _install(home: Cluster, east: Cluster) -> None:
    """In both clusters what `propeller install` says, and in the first one the kubeconfig of the other's account."""
    (home.home / "routes.yaml").write_text(ROUTES)
    settings = home.home / "settings.toml"
    settings.write_text(f'[routing]\nfile = "{home.home}/routes.yaml"\n[clusters]\norphans_after = 1.0\n')
    await home.install("--config", str(settings), "--cluster-secret", SECRET)
    manifests = await output_of(PROPELLER, "install", "--print", "--execution-cluster")
    await east.kubectl("apply", "-f", "-", stdin=manifests.encode())
    document = yaml.safe_load((await east.kubeconfig("flyte", "default")).read_text())
    authority = base64.b64encode(east.server.ca).decode()
    document["clusters"][0]["cluster"] = {"server": east.server.url, "certificate-authority-data": authority}
    kubeconfig = base64.b64encode(yaml.safe_dump(document).encode()).decode()
    await home.client.create(SECRETS, {"metadata": {"name": SECRET}, "data": {"kubeconfig": kubeconfig}}, "flyte")


async def one_whose_pod_somebody_deletes(home: Cluster, east: Cluster) -> None:
    await create(home, "work", "held")
    pod = (await pod_of(east, "work", "held"))["metadata"]
    assert pod["finalizers"] == [HOLD_FINALIZER]
    await east.client.patch(
        RAW_PODS, pod["name"], "work", body={"status": {"phase": "Succeeded"}}, subresource="status"
    )
    await east.client.delete(RAW_PODS, pod["name"], "work", grace_seconds=0)
    await eventually(lambda: _has_ended(home, "held"))
    await eventually(lambda: _has_used(east, ("", "pods", "patch")))


async def one_that_fails_while_another_node_runs(home: Cluster, east: Cluster) -> None:
    body = {"metadata": {"name": "failing"}, "spec": graph(task("a"), task("b")), "tasks": {"t": TASK}}
    await home.client.create(WORKFLOWS, body, "work")
    await pod_of(east, "work", "failing-b")
    await pod_of(east, "work", "failing-a")
    failed = {"phase": "Failed", "containerStatuses": [ended("failing-a-0")]}
    await east.client.patch(RAW_PODS, "failing-a-0", "work", body={"status": failed}, subresource="status")
    await eventually(lambda: _has_ended(home, "failing"))
    await eventually(lambda: _has_used(east, ("", "pods", "delete")))


async def one_whose_pod_exists_already(home: Cluster, east: Cluster) -> None:
    """As after a create that had no answer."""
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await east.client.create(RAW_PODS, {"metadata": {"name": "again-a-0"}, "spec": spec}, "work")
    await create(home, "work", "again")
    await eventually(lambda: _has_used(east, ("", "pods", "get")))


async def one_whose_task_names_a_pod_template(home: Cluster, east: Cluster) -> None:
    """That of the cluster in which the task runs."""
    template = {"spec": {"containers": [{"name": "default", "image": "noop"}], "nodeSelector": {"pool": "a"}}}
    await east.client.create(POD_TEMPLATES, {"metadata": {"name": "base"}, "template": template}, "work")
    named = {**TASK, "metadata": {"podTemplateName": "base"}}
    body = {"metadata": {"name": "named"}, "spec": graph(task("a")), "tasks": {"t": named}}
    await home.client.create(WORKFLOWS, body, "work")
    assert (await pod_of(east, "work", "named"))["spec"]["nodeSelector"] == {"pool": "a"}


async def one_that_waits_for_a_quota(home: Cluster, east: Cluster) -> None:
    await east.client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}, "work")
    await eventually(lambda: _has_used(east, ("", "resourcequotas", "watch")))


async def _has_used(cluster: Cluster, right: Right) -> bool:
    return right in used(cluster.home)


async def _has_ended(home: Cluster, name: str) -> bool:
    return (await home.state("work", name)).get("phase") in {3, 5}
