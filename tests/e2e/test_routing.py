"""A RoutingTable over two real API servers, with the rights of `propeller install`: what operators type and see."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from propeller.kube import NAMESPACES, Raw, connect
from propeller.routing import ROUTING_TABLES
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_operating import DEADLINE, WORKFLOWS, Cluster, Replica, replica
from tests.e2e.test_real_cluster import output_of
from tests.unit.workflow.drive import TASK, graph, task

WORK = "flytesnacks-development"
READS_SECRET = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: propeller-clusters, namespace: flyte}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get], resourceNames: [cluster-far]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: propeller-clusters, namespace: flyte}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: propeller-clusters}
subjects: [{kind: ServiceAccount, name: propeller, namespace: flyte}]
"""

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KubeApiserver, KubeApiserver]]:
    with (
        run_kube_apiserver(tmp_path_factory.mktemp("control")) as control,
        run_kube_apiserver(tmp_path_factory.mktemp("far")) as far,
    ):
        yield control, far


@pytest.fixture
async def clusters(
    servers: tuple[KubeApiserver, KubeApiserver], tmp_path: Path
) -> AsyncIterator[tuple[Cluster, Cluster]]:
    """The control cluster and another, with what each needs."""
    homes = [tmp_path / name for name in ("control", "far")]
    for server, home in zip(servers, homes, strict=True):
        home.mkdir()
        server.kubeconfig(home / "operator")
    async with connect(servers[0].connection()) as of_control, connect(servers[1].connection()) as of_far:
        control, far = Cluster(servers[0], homes[0], of_control), Cluster(servers[1], homes[1], of_far)
        for client in (of_control, of_far):
            await client.create(NAMESPACES, {"metadata": {"name": WORK}})
        await control.install("--routing")
        await control.kubectl("wait", "--for=condition=Established", "crd/routingtables.propeller.dev")
        await control.kubectl("apply", "-f", "-", stdin=READS_SECRET.encode())
        rights = await output_of(PROPELLER, "install", "--print", "--execution-cluster")
        await far.kubectl("apply", "-f", "-", stdin=rights.encode())
        path = tmp_path / "of-far"
        path.write_text(_without_files(await far.kubeconfig("flyte", "default")))
        await control.kubectl(
            "create", "secret", "generic", "cluster-far", "-n", "flyte", f"--from-file=kubeconfig={path}"
        )
        yield control, far


def _without_files(kubeconfig: Path) -> str:
    """A kubeconfig as it may be in a Secret: the certificate authority in it, and not beside it."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    authority = Path(cluster.pop("certificate-authority")).read_bytes()
    cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    return str(yaml.safe_dump(document))


@pytest.fixture
async def controller(clusters: tuple[Cluster, Cluster]) -> AsyncIterator[Replica]:
    control, _ = clusters
    settings = control.home / "propeller.yaml"
    settings.write_text("routing: {table: default}\n")
    async with replica(control, await control.kubeconfig("flyte", "default"), "--config", str(settings)) as started:
        await started.ready()
        yield started


def table(**states: str) -> str:
    found = {
        "apiVersion": "propeller.dev/v1alpha1",
        "kind": "RoutingTable",
        "metadata": {"name": "default"},
        "spec": {
            "clusters": [
                {"name": "home", "connection": {"inCluster": True}},
                {
                    "name": "far",
                    "connection": {"secret": {"namespace": "flyte", "name": "cluster-far"}},
                    "state": states.get("far", "active"),
                },
            ],
            "pools": [{"name": "far", "clusters": ["far"]}, {"name": "home", "clusters": ["home"]}],
            "rules": [
                {"name": "ml", "match": {"projects": ["ml"]}, "pool": "far", "fallbacks": ["home"]},
                {"name": "any", "pool": "home"},
            ],
        },
    }
    return json.dumps(found)


async def start(control: Cluster, name: str, project: str) -> None:
    labels = {"project": project, "domain": "production"}
    body = {"metadata": {"name": name, "labels": labels}, "spec": graph(task("a")), "tasks": {"t": TASK}}
    await control.client.create(WORKFLOWS, body, WORK)


async def has_pods(cluster: Cluster, *names: str) -> None:
    async def found() -> bool:
        assert {pod["metadata"]["name"] for pod in await cluster.pods(WORK)} == set(names)
        return True

    await eventually(found, deadline=DEADLINE)


async def test_executions_go_where_the_table_says_and_commands_and_kubectl_show_it(
    clusters: tuple[Cluster, Cluster], controller: Replica
) -> None:
    control, far = clusters
    operator = ("--kubeconfig", control.home / "operator")
    await start(control, "v", "ml")
    await control.kubectl("apply", "-f", "-", stdin=table().encode())  # v waits for it
    await start(control, "w", "etl")
    await has_pods(far, "v-a-0")
    await has_pods(control, "w-a-0")

    async def is_shown() -> bool:
        lines = (await control.kubectl("get", "routingtables")).splitlines()
        assert lines[0].split() == ["NAME", "ACCEPTED", "HEALTHY", "EXECUTIONS", "RULES", "AGE"]
        assert lines[1].split()[:5] == ["default", "True", "2/2", "2", "2"]
        return True

    await eventually(is_shown, deadline=DEADLINE)
    drained = control.home / "drained.json"
    drained.write_text(table(far="draining"))
    said = await output_of(PROPELLER, "routes", "simulate", "routingtable/default", str(drained), *operator)
    assert said.startswith("2 executions: 1 would move, 0 would wait\n")
    assert f"{WORK}/v  far   home  " in said

    await control.kubectl("apply", "-f", str(drained))
    await eventually(lambda: _has_state(control, "draining"), deadline=DEADLINE)
    await start(control, "x", "ml")
    await has_pods(control, "w-a-0", "x-a-0")
    await has_pods(far, "v-a-0")

    async def counted() -> list[Raw]:
        found = json.loads(await output_of(PROPELLER, "clusters", "rt/default", *operator, "--output", "json"))
        assert [(row["name"], row["state"], row["healthy"], row["executions"], row["pods"]) for row in found] == [
            ("home", "active", True, 2, 2),
            ("far", "draining", True, 1, 1),
        ]
        return list(found)

    rows = await eventually(counted, deadline=DEADLINE)
    assert [row["answer"]["error"] for row in rows] == ["", ""]
    log = controller.log.read_text()
    assert "forbidden" not in log, log


async def _has_state(control: Cluster, state: str) -> bool:
    status = (await control.client.get(ROUTING_TABLES, "default")).status
    return isinstance(status, dict) and status["clusters"][1]["state"] == state
