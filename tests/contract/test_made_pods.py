"""The pods that an operator makes explain the failure of its resource, and nobody else's pods do."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from propeller.errors import NotFound
from propeller.handlers.plugins import made_pods, why_pods_failed
from propeller.kube import PODS, Client, KubeObject, Raw, Resource
from propeller.testing import HttpServerUnderTest
from tests.contract.custom_resources import install
from tests.contract.test_operators import BUILT_IN, definitions, served
from tests.unit.handlers.operator_tasks import TASKS, built, plugin_of, resource_of

RAW_PODS = PODS.typed(dict[str, Any])
NAME = "e-n0-0"
LABELS = {
    "pytorch": {"training.kubeflow.org/job-name": NAME},
    "tensorflow": {"training.kubeflow.org/job-name": NAME},
    "mpi": {"training.kubeflow.org/job-name": NAME},
    "spark": {"sparkoperator.k8s.io/app-name": NAME},
    "dask": {"dask.org/cluster-name": NAME},
}
"""What the operators give to pods (their sources at the versions of docs/operators.md)."""


def kind(group: str, name: str) -> Resource[Raw]:
    return Resource(group=group, version="v1", kind=name, plural=f"{name.lower()}s", type=dict[str, Any])


RAY_CLUSTERS = kind("ray.io", "RayCluster")
JOBS = kind("batch", "Job")


def owner(resource: Resource[Any], made: Raw) -> Raw:
    metadata = made["metadata"]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def definition(of: Resource[Raw]) -> Raw:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": of.version, "served": True, "storage": True, "schema": schema}
    names = {"kind": of.kind, "listKind": f"{of.kind}List", "plural": of.plural, "singular": of.kind.lower()}
    return {
        "metadata": {"name": f"{of.plural}.{of.group}"},
        "spec": {"group": of.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


class Operated:
    """One operator's resource, and who plays its operator."""

    def __init__(self, client: Client, namespace: str, task_type: str) -> None:
        self.client, self.namespace, self.task_type = client, namespace, task_type
        self.resource = resource_of(task_type)
        self.made: Raw = {}

    async def create(self) -> Raw:
        if self.task_type not in BUILT_IN:
            await install(self.client, served(definitions()[self.resource.kind], self.resource.version))
        body = built(self.task_type)
        self.made = await self.client.create(
            self.resource, {**body, "metadata": {"name": NAME, "labels": body["metadata"]["labels"]}}, self.namespace
        )
        return self.made

    async def pod(self, name: str, labels: Raw, *owners: Raw, **status: Any) -> Raw:
        body = {
            "metadata": {"name": name, "labels": labels, "ownerReferences": list(owners)},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]},
        }
        made = await self.client.create(RAW_PODS, body, self.namespace)
        if status:
            await self.client.patch(RAW_PODS, name, self.namespace, body={"status": status}, subresource="status")
        return made

    async def stray(self, name: str, labels: Raw, owner: Raw, **status: Any) -> None:
        """A pod whose owner is not there: the garbage collector may delete it first, where one runs."""
        with suppress(NotFound):
            await self.pod(name, labels, owner, **status)

    async def between(self, resource: Resource[Raw], name: str, above: Raw, **fields: Any) -> Raw:
        body = {"metadata": {"name": name, "ownerReferences": [above]}, **fields}
        return owner(resource, await self.client.create(resource, body, self.namespace))

    async def observed(self) -> KubeObject:
        raw = await self.client.get(self.resource, NAME, self.namespace)
        found: KubeObject = msgspec.convert(raw, plugin_of(self.task_type).resource.type)
        return found

    async def why(self) -> str:
        return await why_pods_failed(plugin_of(self.task_type), await self.observed(), self.client)

    async def names(self) -> list[str]:
        found = await made_pods(plugin_of(self.task_type), await self.observed(), self.client)
        return [one.name for one in found]


def ended(exit_code: int = 137, at: str = "2026-01-01T00:00:05Z", **fields: Any) -> Raw:
    terminated = {"exitCode": exit_code, "finishedAt": at, **fields}
    container = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Failed", "containerStatuses": [container | {"state": {"terminated": terminated}}]}


def waiting(reason: str, message: str) -> Raw:
    container = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    state = {"state": {"waiting": {"reason": reason, "message": message}}}
    return {"phase": "Pending", "containerStatuses": [container | state]}


@pytest.mark.parametrize("task_type", sorted(TASKS))
async def test_a_worker_out_of_memory_is_named_with_the_last_lines_of_its_log(
    http_server: HttpServerUnderTest, task_type: str
) -> None:
    of = Operated(http_server.client, http_server.namespace, task_type)
    made = await of.create()
    above = owner(of.resource, made)
    labels = LABELS.get(task_type, {})
    if task_type == "ray":
        await install(of.client, definition(RAY_CLUSTERS))
        above = await of.between(RAY_CLUSTERS, "cluster-x", above)
        await of.client.patch(
            of.resource, NAME, of.namespace, body={"status": {"rayClusterName": "cluster-x"}}, subresource="status"
        )
        labels = {"ray.io/cluster": "cluster-x"}
    if task_type == "kubernetes-job":
        labels = {"batch.kubernetes.io/controller-uid": made["metadata"]["uid"]}
    first = await of.pod("e-n0-0-first", labels, above, phase="Running")
    if task_type == "spark":  # executors belong to their driver
        above = owner(kind("", "Pod"), first)
    killed = ended(reason="OOMKilled", message="epoch 3\nallocating 80 GB")
    await of.pod("e-n0-0-second", labels, above, **killed)
    why = await of.why()
    assert why.startswith("pod e-n0-0-second: "), why
    for part in ("[main] terminated with exit code (137)", "reason OOMKilled", "epoch 3\nallocating 80 GB"):
        assert part in why
    assert "e-n0-0-first" not in why
    assert set(await of.names()) == {"e-n0-0-first", "e-n0-0-second"}


async def test_pods_of_strangers_are_not_shown_whatever_they_are_labelled(http_server: HttpServerUnderTest) -> None:
    of = Operated(http_server.client, http_server.namespace, "pytorch")
    ours = owner(of.resource, await of.create())
    other = {**built("pytorch"), "metadata": {"name": "e-n0-1"}}
    strangers = owner(of.resource, await of.client.create(of.resource, other, of.namespace))
    labels, killed = LABELS["pytorch"], ended(reason="OOMKilled", message="stranger")
    await of.pod("nobodys", labels, **killed)
    await of.pod("of-another", labels, strangers, **killed)
    await of.stray("of-an-earlier-one", labels, ours | {"uid": "11111111-2222-3333-4444-555555555555"}, **killed)
    assert await of.why() == ""
    await of.pod("ours", labels, ours, **ended(exit_code=1, message="ours"))
    assert "pod ours: " in (why := await of.why())
    assert "stranger" not in why


async def test_a_pod_counts_only_if_what_is_between_is_the_one_that_it_names(http_server: HttpServerUnderTest) -> None:
    of = Operated(http_server.client, http_server.namespace, "ray")
    above = owner(of.resource, await of.create())
    await install(of.client, definition(RAY_CLUSTERS))
    cluster = await of.between(RAY_CLUSTERS, "cluster-x", above)
    status = {"status": {"rayClusterName": "cluster-x"}}
    await of.client.patch(of.resource, NAME, of.namespace, body=status, subresource="status")
    labels, killed = {"ray.io/cluster": "cluster-x"}, ended(message="stranger")
    await of.stray("recreated", labels, cluster | {"uid": "11111111-2222-3333-4444-555555555555"}, **killed)
    await of.stray("nowhere", labels, cluster | {"name": "../pods", "uid": "x" * 36}, **killed)
    assert await of.why() == ""
    job_labels = {"batch.kubernetes.io/job-name": NAME}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    submitter = await of.between(JOBS, NAME, above, spec={"template": template, "backoffLimit": 2})
    await of.pod("submitter", job_labels, submitter, **ended(exit_code=1, message="ValueError: no such column"))
    assert "ValueError: no such column" in await of.why()


async def test_a_dask_worker_is_found_below_its_deployment(real_server: HttpServerUnderTest) -> None:
    of = Operated(real_server.client, real_server.namespace, "dask")
    above = owner(of.resource, await of.create())
    for name in ("DaskCluster", "DaskWorkerGroup"):
        resource = kind("kubernetes.dask.org", name)
        await install(of.client, definition(resource))
        above = await of.between(resource, f"{NAME}-{name.lower()}", above)
    pod = {
        "metadata": {"labels": LABELS["dask"]},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    }
    for name in ("Deployment", "ReplicaSet"):
        spec = {"selector": {"matchLabels": LABELS["dask"]}, "template": pod, "replicas": 0}
        above = await of.between(kind("apps", name), f"{NAME}-worker", above, spec=spec)
    restarted = ended(reason="OOMKilled", message="out")["containerStatuses"][0]
    last = restarted | {"restartCount": 4, "lastState": restarted["state"], "state": {"running": {}}}
    worker = await of.pod("worker", LABELS["dask"], above, phase="Running", containerStatuses=[last])
    assert worker["metadata"]["name"] == "worker"
    assert "pod worker: started again 4 times: [main] terminated with exit code (137)" in await of.why()


async def test_the_first_failure_comes_first_and_what_was_stopped_for_it_last(
    http_server: HttpServerUnderTest,
) -> None:
    of = Operated(http_server.client, http_server.namespace, "mpi")
    above, labels = owner(of.resource, await of.create()), LABELS["mpi"]
    await of.pod("a-waits", labels, above, **waiting("ImagePullBackOff", "Back-off pulling image x"))
    await of.pod("b-late", labels, above, **ended(exit_code=1, at="2026-01-01T00:00:09Z", message="late"))
    await of.pod("c-first", labels, above, **ended(exit_code=1, at="2026-01-01T00:00:05Z", message="first"))
    await of.pod("d-well", labels, above, phase="Succeeded")
    await of.pod("e-runs", labels, above, phase="Running")
    assert (await of.names())[:3] == ["c-first", "b-late", "a-waits"]
    assert "pod a-waits: it cannot start: ImagePullBackOff: Back-off pulling image x" in await of.why()


async def test_of_many_failed_pods_three_are_told_of(http_server: HttpServerUnderTest) -> None:
    of = Operated(http_server.client, http_server.namespace, "pytorch")
    above, labels = owner(of.resource, await of.create()), LABELS["pytorch"]
    for number in range(6):
        failed = ended(exit_code=1, at=f"2026-01-01T00:00:0{number}Z", message="x" * 3000)
        await of.pod(f"worker-{number}", labels, above, **failed)
    why = await of.why()
    assert why.count("pod worker-") == 3
    assert why.endswith("and 3 more of its pods, such as worker-3")
    assert len(why) < 3 * 4096
