"""Commands need the rights that docs/security.md names, and no others: a real API server refuses none of their requests
to an account that has these alone, and its audit log has a request for each of them.
"""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from propeller.fairqueues import FAIR_QUEUES
from propeller.kube import SECRETS, connect
from propeller.routing import ROUTING_TABLES
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.deploy.cluster import audit_flags, audited
from tests.deploy.test_rights import ended
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_operating import WORKFLOWS, Cluster, namespace, replica
from tests.unit.controller.test_gates import approve, signal
from tests.unit.workflow.drive import TASK, graph, task

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
PEOPLE = "people"
GROUPS = {
    "flyteworkflows": "flyte.lyft.com",
    "pods": "",
    "pods/log": "",
    "pods/proxy": "",
    "secrets": "",
    "leases": "coordination.k8s.io",
    "fairqueues": FAIR_QUEUES.group,
    "routingtables": ROUTING_TABLES.group,
}
NOT_ASKED_FOR_HERE = {("pods", "list"), ("flyteworkflows", "watch")}
"""By `logs`, for operators' jobs alone, and by `status -w` of an execution that has ended."""
URI = "file:///nowhere/done-a-0/x"
"""Of no output of `done`, although its name is in it."""

CALLS: dict[str, str] = {
    "propeller status EXECUTION": "status done",
    "propeller get EXECUTION": "get done",
    "propeller cache explain EXECUTION NODE": "cache explain done a",
    "propeller status EXECUTION -w": "status done -w",
    "propeller get EXECUTION NODE logs": "get done a logs",
    "propeller lineage URI": f"lineage {URI}",
    "propeller signal EXECUTION GATE VALUE": "signal gated s 7",
    "propeller approve EXECUTION GATE": "approve gated p",
    "propeller relaunch EXECUTION": "relaunch failed",
    "propeller recover EXECUTION": "recover failed",
    "propeller queue": "queue",
    "propeller rollout status": "rollout status",
    "propeller rollout start": "rollout start --to 2.0 --from 1.0",
    "propeller rollout promote": "rollout promote",
    "propeller rollout abort": "rollout abort",
    "propeller tenants list": "tenants list",
    "propeller tenants limit set TENANT POOL=N": "tenants limit set ml hive=1",
    "propeller routes explain routingtable/NAME": "routes explain routingtable/default --project p",
    "propeller routes simulate routingtable/NAME FILE": "routes simulate routingtable/default {home}/routes.yaml",
    "propeller clusters routingtable/NAME": "clusters routingtable/default",
}
WITH_NAMESPACE = {"status", "get", "cache", "lineage", "signal", "approve", "relaunch", "recover"}

TABLE: dict[str, Any] = {
    "clusters": [{"name": "east", "connection": {"secret": {"namespace": "flyte", "name": "cluster-east"}}}],
    "pools": [{"name": "all", "clusters": ["east"]}],
    "rules": [{"name": "all", "pool": "all"}],
}


class Row(NamedTuple):
    commands: tuple[str, ...]
    rights: frozenset[tuple[str, str]]
    """Resource and verb."""


def rows() -> list[Row]:
    (table,) = re.findall(r"^\| command \| it needs \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    found = []
    for line in table.splitlines():
        commands, needs = line.strip("| ").split(" | ")
        rights = frozenset(
            (resource, verb)
            for verbs, text in re.findall(r"`([a-z ]+)` on ([^`]+)", needs)
            for resource in re.findall(r"[a-z]+(?:/[a-z]+)?", text)
            if resource in GROUPS
            for verb in verbs.split()
        )
        found.append(Row(tuple(re.findall(r"`(propeller [^`]+)`", commands)), rights))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[KubeApiserver]:
    with run_kube_apiserver(home, audit_flags(home, userGroups=[f"system:serviceaccounts:{PEOPLE}"])) as started:
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver, home: Path) -> AsyncIterator[Cluster]:
    server.kubeconfig(home / "operator")
    async with connect(server.connection()) as client:
        yield Cluster(server, home, client)


async def test_each_command_needs_the_rights_of_its_row_and_no_others(cluster: Cluster, home: Path) -> None:
    found = rows()
    assert {command for row in found for command in row.commands} == set(CALLS)
    await cluster.install("--routing", "--shards")
    for one in ("work", PEOPLE):
        await namespace(cluster, one)
    await make_tables_and_queues(cluster)
    async with replica(cluster, home / "operator", "--shards", "2") as controller:
        await controller.ready()
        await make_executions(cluster)
        for number, row in enumerate(found):
            kubeconfig = await account(cluster, f"row-{number}", row)
            for command in row.commands:
                said = await call(kubeconfig, CALLS[command].format(home=home))
                assert "forbidden" not in said, (command, said)
    used = requests(home / "audit.log")
    for number, row in enumerate(found):
        of_row = used[f"row-{number}"]
        assert {right for right, code in of_row if code in {401, 403}} == set(), row.commands
        assert {right for right, _ in of_row} | NOT_ASKED_FOR_HERE == row.rights | NOT_ASKED_FOR_HERE, row.commands


async def make_tables_and_queues(cluster: Cluster) -> None:
    (cluster.home / "routes.yaml").write_text(yaml.safe_dump(TABLE))
    document = yaml.safe_load((cluster.home / "operator").read_text())
    document["clusters"][0]["cluster"] = {
        "server": cluster.server.url,
        "certificate-authority-data": base64.b64encode(cluster.server.ca).decode(),
    }
    kubeconfig = base64.b64encode(yaml.safe_dump(document).encode()).decode()
    await cluster.client.create(
        SECRETS, {"metadata": {"name": "cluster-east"}, "data": {"kubeconfig": kubeconfig}}, "flyte"
    )
    await cluster.client.create(ROUTING_TABLES, {"metadata": {"name": "default"}, "spec": TABLE})
    pools = {"pools": [{"name": "hive", "capacity": 10}], "tenants": [{"name": "ml"}]}
    await cluster.client.create(FAIR_QUEUES, {"metadata": {"name": "limits"}, "spec": pools})


async def make_executions(cluster: Cluster) -> None:
    """One that has succeeded, one that has failed, and one that waits at two gates."""
    await cluster.run("work", "done")
    body = {"metadata": {"name": "failed"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
    await cluster.client.create(WORKFLOWS, body, "work")
    await cluster.end("work", "failed", phase="Failed", containerStatuses=[ended("failed-a-0")])
    body = {"metadata": {"name": "gated"}, "spec": graph(signal("s"), approve("p"))}
    await cluster.client.create(WORKFLOWS, body, "work")

    async def waits() -> bool:
        return len((await cluster.state("work", "gated")).get("waits") or ()) == 2

    await eventually(waits)


async def account(cluster: Cluster, name: str, row: Row) -> Path:
    """A kubeconfig of an account with the rights of the row alone."""
    rules = [
        {"apiGroups": [GROUPS[resource]], "resources": [resource], "verbs": [verb]}
        for resource, verb in sorted(row.rights)
    ]
    role = {"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": PEOPLE}],
    }
    objects = [one | {"apiVersion": "rbac.authorization.k8s.io/v1"} for one in (role, binding)]
    objects.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": PEOPLE}})
    await cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())
    token = (await cluster.kubectl("create", "token", name, "-n", PEOPLE)).strip()
    document = yaml.safe_load((cluster.home / "operator").read_text())
    document["users"][0]["user"] = {"token": token}
    path = cluster.home / name
    path.write_text(yaml.safe_dump(document))
    return path


async def call(kubeconfig: Path, words: str) -> str:
    """All that the command prints, whatever its exit code: some have nothing to show in this cluster."""
    first, *others = words.split()
    where = ("-n", "work") if first in WITH_NAMESPACE else ()
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, first, *others, *where, "--kubeconfig", kubeconfig),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


def requests(log: Path) -> dict[str, set[tuple[tuple[str, str], int]]]:
    """By account what it asked for, and the server's code."""
    found: dict[str, set[tuple[tuple[str, str], int]]] = defaultdict(set)
    for one in audited(log):
        found[one.account].add(((one.resource, one.verb), one.code))
    return found
