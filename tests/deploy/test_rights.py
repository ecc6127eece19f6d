"""The rights of the controller are those that its requests need: none is missing, and none is unused.

A controller with the rights of `propeller install` alone does all that it ever does on a real API server, whose audit
log says what it asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from propeller.config import Settings
from propeller.fairqueues import FAIR_QUEUES
from propeller.kube import EVENTS, POD_TEMPLATES, Raw, connect
from propeller.manifests import RULES, Part, parts_of
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from tests.deploy.cluster import Request, audit_flags, audited
from tests.e2e.test_operating import RAW_PODS, WORKFLOWS, Cluster, namespace, replica
from tests.unit.controller import children
from tests.unit.workflow.drive import TASK, graph, task

pytestmark = pytest.mark.needs("kube-apiserver", "kubectl")

Right = tuple[str, str, str]
"""API group, resource, verb."""

CHECKED_BY_ADMISSION = {("flyte.lyft.com", "flyteworkflows/finalizers", "update")}
"""No request of its own: the admission plugin OwnerReferencesPermissionEnforcement looks for it at each pod create."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audited")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[KubeApiserver]:
    flags = (*audit_flags(home), "--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
    with run_kube_apiserver(home, flags) as started:
        yield started


@pytest.fixture
async def cluster(server: KubeApiserver, home: Path) -> AsyncIterator[Cluster]:
    server.kubeconfig(home / "operator")
    async with connect(server.connection()) as client:
        yield Cluster(server, home, client)


def granted(parts: list[Part]) -> set[Right]:
    return {(one.group, one.resource, verb) for one in RULES if one.part in parts for verb in one.verbs}


async def create(cluster: Cluster, work: str, name: str, **metadata: Any) -> None:
    body = {"metadata": {"name": name, **metadata}, "spec": graph(task("a")), "tasks": {"t": TASK}}
    await cluster.client.create(WORKFLOWS, body, work)


async def pod_of(cluster: Cluster, work: str, name: str) -> Raw:
    async def look() -> Raw | None:
        return next((pod for pod in await cluster.pods(work) if pod["metadata"]["name"].startswith(f"{name}-")), None)

    found = await eventually(look)
    assert found is not None
    return found


async def one_with_finalizers_of_flyte(cluster: Cluster, work: str) -> None:
    """Of FlyteAdmin on the workflow, of FlytePropeller on its pod."""
    await create(cluster, work, "finalizers", finalizers=["flyte.org/finalizer"])
    pod = await pod_of(cluster, work, "finalizers")
    body = {"metadata": {"finalizers": ["flyte.org/finalizer-k8s"]}}
    await cluster.client.patch(RAW_PODS, pod["metadata"]["name"], work, body=body)
    await cluster.end(work, "finalizers")

    async def removed() -> bool:
        return not (await cluster.client.get(WORKFLOWS, "finalizers", work))["metadata"].get("finalizers")

    await eventually(removed)


async def one_that_somebody_labels_while_it_runs(cluster: Cluster, work: str) -> None:
    """The next status conflicts, and the object is read."""
    await create(cluster, work, "labelled")
    await pod_of(cluster, work, "labelled")
    await cluster.client.patch(WORKFLOWS, "labelled", work, body={"metadata": {"labels": {"of": "somebody"}}})
    await cluster.end(work, "labelled")


async def one_that_is_deleted_while_it_runs(cluster: Cluster, work: str) -> None:
    """With FlyteAdmin's finalizer, so that its pods are stopped before the garbage collector deletes them."""
    await create(cluster, work, "deleted", finalizers=["flyte.org/finalizer"])
    await pod_of(cluster, work, "deleted")
    await cluster.client.delete(WORKFLOWS, "deleted", work)
    await eventually(lambda: _asked(cluster, ("", "pods", "delete")))


async def one_whose_nodes_fail_one_after_the_other(cluster: Cluster, work: str) -> None:
    """The second failure is counted in the Event of the first."""
    spec = graph(task("a"), task("b"), task("c"), onFailurePolicy=1)
    body = {"metadata": {"name": "failing"}, "spec": spec, "tasks": {"t": TASK}}
    await cluster.client.create(WORKFLOWS, body, work)
    for node in ("a", "b"):
        await pod_of(cluster, work, f"failing-{node}")
        failed = {"phase": "Failed", "containerStatuses": [ended(f"failing-{node}-0")]}
        await cluster.client.patch(RAW_PODS, f"failing-{node}-0", work, body={"status": failed}, subresource="status")
        await eventually(partial(_event_of, cluster, work, "failing", f"node {node}"))


def ended(container: str) -> Raw:
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    return {"name": container, "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}


async def _event_of(cluster: Cluster, work: str, name: str, says: str) -> bool:
    events = (await cluster.client.list(EVENTS, work)).items
    return any(one["involvedObject"]["name"] == name and says in one["message"] for one in events)


async def one_whose_pod_exists_already(cluster: Cluster, work: str) -> None:
    """As after a create that had no answer."""
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await cluster.client.create(RAW_PODS, {"metadata": {"name": "again-a-0"}, "spec": spec}, work)
    await create(cluster, work, "again")
    await eventually(lambda: _asked(cluster, ("", "pods", "get")))


async def one_whose_task_names_a_pod_template(cluster: Cluster, work: str) -> None:
    metadata = {"metadata": {"name": "base"}}
    containers = {"spec": {"containers": [{"name": "default", "image": "noop"}], "nodeSelector": {"pool": "a"}}}
    await cluster.client.create(POD_TEMPLATES, metadata | {"template": containers}, work)
    named = {**TASK, "metadata": {"podTemplateName": "base"}}
    body = {"metadata": {"name": "named"}, "spec": graph(task("a")), "tasks": {"t": named}}
    await cluster.client.create(WORKFLOWS, body, work)
    assert (await pod_of(cluster, work, "named"))["spec"]["nodeSelector"] == {"pool": "a"}


async def one_that_starts_a_launch_plan(cluster: Cluster, work: str) -> None:
    await cluster.client.create(WORKFLOWS, children.resource(name="parent"), work)
    assert (await pod_of(cluster, work, "parent-n0-0"))["metadata"]["name"] == "parent-n0-0-a-0"
    await cluster.end(work, "parent-n0-0")


async def one_limited_by_a_fair_queue(cluster: Cluster) -> None:
    spec = {"pools": [{"name": "p", "capacity": 1}]}
    await cluster.client.create(FAIR_QUEUES, {"metadata": {"name": "limits"}, "spec": spec})
    await eventually(lambda: _asked(cluster, (FAIR_QUEUES.group, f"{FAIR_QUEUES.plural}/status", "patch")))
    await cluster.client.delete(FAIR_QUEUES, "limits")


async def one_that_ended_long_ago(cluster: Cluster) -> None:
    await eventually(lambda: _asked(cluster, ("flyte.lyft.com", "flyteworkflows", "delete")))


async def _asked(cluster: Cluster, right: Right) -> bool:
    return right in used(cluster.home)


def used(home: Path) -> set[Right]:
    return {(one.group, one.resource, one.verb) for one in audited(home / "audit.log")}


def refused(home: Path) -> list[Request]:
    return [one for one in audited(home / "audit.log") if one.code in {401, 403}]


async def test_the_controller_uses_every_right_that_it_is_given_and_no_other(cluster: Cluster, home: Path) -> None:
    await cluster.install()
    work = await namespace(cluster, "work")
    (home / "settings.toml").write_text("[controller]\nttl = 3.0\n[events]\ndelay = 0.1\nburst = 1000\n")
    kubeconfig = await cluster.kubeconfig("flyte", "default")
    async with replica(cluster, kubeconfig, "--config", str(home / "settings.toml")) as controller:
        await controller.ready()
        await one_with_finalizers_of_flyte(cluster, work)
        await one_that_somebody_labels_while_it_runs(cluster, work)
        await one_that_is_deleted_while_it_runs(cluster, work)
        await one_whose_nodes_fail_one_after_the_other(cluster, work)
        await one_whose_pod_exists_already(cluster, work)
        await one_whose_task_names_a_pod_template(cluster, work)
        await one_that_starts_a_launch_plan(cluster, work)
        await one_limited_by_a_fair_queue(cluster)
        await one_that_ended_long_ago(cluster)
        await eventually(lambda: _asked(cluster, ("coordination.k8s.io", "leases", "update")))  # its renewal
    given = granted([*parts_of(Settings()), Part.LEASES])
    assert used(home) - given == set(), "requests without a right"
    assert given - used(home) == CHECKED_BY_ADMISSION, "rights without a request"
    assert refused(home) == []


async def test_controllers_that_divide_the_workflows_use_every_right_on_leases(cluster: Cluster, home: Path) -> None:
    settings = home / "shards.toml"
    settings.write_text("[shards]\ncount = 2\n[election]\nduration = 3\nrenew_deadline = 2.0\nretry = 0.5\n")
    await cluster.install("--config", str(settings))
    kubeconfig = await cluster.kubeconfig("flyte", "default")
    async with replica(cluster, kubeconfig, "--config", str(settings)) as controller:
        await controller.ready()
        async with replica(cluster, kubeconfig, "--config", str(settings)) as other:
            await other.ready()
            other.process.kill()
            await eventually(lambda: _asked(cluster, ("coordination.k8s.io", "leases", "delete")))
    of_leases = {right for right in used(home) if right[1] == "leases"}
    assert of_leases == granted([Part.LEASES, Part.SHARDS])
    assert refused(home) == []
