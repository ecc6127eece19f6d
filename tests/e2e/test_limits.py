"""Limits changed by a FairQueue while a controller works, on a real API server, with the rights of `propeller install`
alone; and what docs/limits.md and docs/tenants.md tell people to type.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from propeller.fairqueues import FAIR_QUEUES, RAW_FAIR_QUEUES
from propeller.kube import Raw, connect
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_operating import DEADLINE, WORKFLOWS, Cluster, Replica, namespace, replica
from tests.e2e.test_real_cluster import output_of
from tests.unit.workflow.drive import TASK, graph, task

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    """A server of our own: FairQueues are a whole cluster's."""
    with run_kube_apiserver(tmp_path_factory.mktemp("limits")) as started:
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver, tmp_path: Path) -> AsyncIterator[Cluster]:
    server.kubeconfig(tmp_path / "operator")
    async with connect(server.connection()) as client:
        made = Cluster(server, tmp_path, client)
        await made.install()
        await made.kubectl("wait", "--for=condition=Established", "crd/fairqueues.propeller.dev")
        yield made
        for queue in (await client.list(FAIR_QUEUES)).items:
            await client.delete(FAIR_QUEUES, queue.metadata.name)


@pytest.fixture
async def controller(cluster: Cluster) -> AsyncIterator[Replica]:
    async with replica(cluster, await cluster.kubeconfig("flyte", "default")) as started:
        await started.ready()
        yield started


def documented(page: str, kind: str, word: str) -> str:
    """The page's block of that kind with that word in it."""
    (found,) = (
        text for text in re.findall(rf"```{kind}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL) if word in text
    )
    return str(found)


async def propeller(cluster: Cluster, *words: str) -> str:
    return await output_of(PROPELLER, *words, "--kubeconfig", cluster.home / "operator")


async def start(cluster: Cluster, where: str, name: str, count: int, project: str, kind: str = "python-task") -> None:
    resource = {
        "metadata": {"name": name, "labels": {"project": project, "domain": "production"}},
        "spec": graph(*[task(f"n{number}") for number in range(count)]),
        "tasks": {"t": {**TASK, "type": kind}},
    }
    await cluster.client.create(WORKFLOWS, resource, where)


async def has_pods(cluster: Cluster, where: str, count: int) -> None:
    """Wait until there are so many, and no more a moment later."""

    async def found() -> int:
        pods = await cluster.pods(where)
        assert len(pods) == count, [pod["metadata"]["name"] for pod in pods]
        return True

    await eventually(found, deadline=DEADLINE)
    await asyncio.sleep(0.5)
    await found()


async def status(cluster: Cluster, name: str) -> Raw:
    found: Raw = (await cluster.client.get(RAW_FAIR_QUEUES, name)).get("status", {})
    return found


async def test_limits_change_while_tasks_wait_and_kubectl_shows_it(cluster: Cluster, controller: Replica) -> None:
    where = await namespace(cluster, "live")
    await cluster.kubectl("apply", "-f", "-", stdin=documented("limits.md", "yaml", "kind: FairQueue").encode())
    await propeller(cluster, "tenants", "limit", "set", "ml", "hive=2")
    await start(cluster, where, "w", 6, "ml", "hive")
    await has_pods(cluster, where, 2)
    said = await propeller(cluster, "tenants", "limit", "set", "ml", "hive=4")
    assert said == "fairqueue/warehouse: ml: in force\n"
    await has_pods(cluster, where, 4)

    async def waiting_is_shown() -> bool:
        lines = (await cluster.kubectl("get", "fairqueues")).splitlines()
        assert lines[0].split() == ["NAME", "READY", "WAITING", "USAGE", "TENANTS", "AGE"]
        assert re.fullmatch(r"warehouse +True +2 +hive 4/80, warehouse-api 0 +2 +\S+", lines[1]), lines[1]
        return True

    await eventually(waiting_is_shown, deadline=DEADLINE)
    rows = json.loads(await propeller(cluster, "tenants", "list", "--output", "json"))
    (row,) = (row for row in rows if row["tenant"] == "ml")
    assert (row["weight"], row["limits"], row["held"], row["waiting"]) == (2, {"hive": 4}, {"hive": 4}, 2)
    assert "ml/production" in await propeller(cluster, "tenants", "list")

    await cluster.kubectl("delete", "fairqueue", "warehouse")
    await has_pods(cluster, where, 6)
    log = controller.log.read_text()
    assert "forbidden" not in log, log


async def test_a_change_that_the_controller_refuses_is_in_condition_event_log_and_exit_code(
    cluster: Cluster, controller: Replica
) -> None:
    """What CEL cannot see: a pool that another FairQueue has."""
    for name in ("first", "second"):
        spec = {"pools": [{"name": "shared", "capacity": 1}]}
        await cluster.client.create(RAW_FAIR_QUEUES, {"metadata": {"name": name}, "spec": spec})

        async def seen(name: str = name) -> bool:
            return bool((await status(cluster, name)).get("observedGeneration"))

        await eventually(seen, deadline=DEADLINE)
    (ready,) = (await status(cluster, "second"))["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "Collision")
    assert "pool 'shared' belongs to FairQueue 'first'" in ready["message"]
    assert "FairQueue second is not in force" in controller.log.read_text()

    async def is_described() -> bool:
        text = await cluster.kubectl("describe", "fairqueue", "second")
        return bool(re.search(r"Warning +Refused +.*propeller +pool 'shared' belongs", text))

    await eventually(is_described, deadline=DEADLINE)
    command = (PROPELLER, "tenants", "limit", "set", "ml", "shared=1", "--queue", "second", "--kubeconfig")
    process = await asyncio.create_subprocess_exec(
        *command, str(cluster.home / "operator"), stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 2
    assert "fairqueue/second: refused: pool 'shared' belongs to FairQueue 'first'" in error.decode()


async def test_the_status_has_a_manager_of_its_own_and_rests_while_nothing_changes(
    cluster: Cluster, controller: Replica
) -> None:
    spec = {"pools": [{"name": "p", "capacity": 1}]}
    await cluster.client.create(RAW_FAIR_QUEUES, {"metadata": {"name": "resting"}, "spec": spec})

    async def written() -> bool:
        return "conditions" in await status(cluster, "resting")

    await eventually(written, deadline=DEADLINE)
    before = await cluster.client.get(RAW_FAIR_QUEUES, "resting")
    await asyncio.sleep(3.0)
    after = await cluster.client.get(RAW_FAIR_QUEUES, "resting")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    (own,) = (one for one in after["metadata"]["managedFields"] if one["manager"] == "propeller-fairqueue-status")
    assert (own["subresource"], set(own["fieldsV1"])) == ("status", {"f:status"})


async def test_commands_of_the_page_on_tenants_limits_do_what_it_says(cluster: Cluster) -> None:
    await cluster.kubectl("apply", "-f", "-", stdin=documented("limits.md", "yaml", "kind: FairQueue").encode())
    for line in documented("tenants.md", "sh", "limit set").splitlines():
        words = line.split()
        assert words[0] == "propeller"
        await propeller(cluster, *words[1:], *(["--timeout", "0"] if "set" in words else []))
    tenants = (await cluster.client.get(RAW_FAIR_QUEUES, "warehouse"))["spec"]["tenants"]
    assert {one["name"]: one for one in tenants}["ml"] == {"name": "ml", "weight": 2}
    assert {one["name"]: one for one in tenants}["ml/production"] == {"name": "ml/production", "weight": 3}
