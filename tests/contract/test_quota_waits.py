"""Quotas as the controller counts them are quotas as a real API server counts them, and what has no room is not sent.

The quota controller counts down what admission has counted up. There is none beside the real API server: the test
writes the status as it does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.config import CheckpointOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController
from propeller.errors import Conflict, Denied, Throttled
from propeller.kube import LIMIT_RANGES, PODS, RESOURCE_QUOTAS, Client, Raw
from propeller.resourcemgr.quotas import Launch, NamespaceQuotas, OutOfRange, quota_of
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import HttpServerUnderTest, ServerUnderTest, eventually
from tests.contract.custom_resources import install_flyte_workflows
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
HARD = {
    "pods": "100",
    "count/pods": "100",
    "requests.cpu": "100",
    "limits.cpu": "100",
    "requests.memory": "100Gi",
    "limits.memory": "100Gi",
    "requests.ephemeral-storage": "100Gi",
    "requests.example.com/gpu": "100",
    "requests.hugepages-2Mi": "100Gi",
}


SPECIAL = {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "3Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}


def asking(name: str, cpu: str, memory: str = "1Mi", policy: str = "") -> Raw:
    amounts = {"cpu": cpu, "memory": memory}
    own = {"restartPolicy": policy} if policy else {}
    return {"name": name, "image": "i", "resources": {"requests": amounts, "limits": amounts}, **own}


SPECS: dict[str, Raw] = {
    "one container": {"containers": [asking("a", "250m")]},
    "containers add up": {"containers": [asking("a", "250m"), asking("b", "1", "3Gi")]},
    "a large init container": {"containers": [asking("a", "1")], "initContainers": [asking("i", "3", "1k")]},
    "sidecars": {
        "containers": [asking("a", "1")],
        "initContainers": [asking("s", "500m", policy="Always"), asking("i", "2"), asking("t", "1", policy="Always")],
    },
    "parts of a thousandth": {"containers": [asking("a", "100u")]},
    "gpus and scratch": {
        "containers": [
            asking("a", "1", "1Gi") | {"resources": {"requests": SPECIAL, "limits": SPECIAL}},
        ]
    },
    "limits alone": {
        "containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "2", "memory": "5M"}}}]
    },
    "a pod as a whole": {
        "containers": [asking("a", "1")],
        "resources": {"requests": {"cpu": "3", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "1Gi"}},
    },
}


async def limit(client: Client, namespace: str, name: str, spec: Raw) -> None:
    """Set a quota, and wait until the server has it in force."""
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": name}, "spec": spec}, namespace)
    body = {"status": {"hard": spec["hard"], "used": dict.fromkeys(spec["hard"], "0")}}
    await client.patch(RESOURCE_QUOTAS, name, namespace, body=body, subresource="status")
    await asyncio.sleep(1.0)  # admission has a cache of its own


async def quota_in(client: Client, namespace: str) -> Raw:
    return await client.get(RESOURCE_QUOTAS, "q", namespace)


async def count(client: Client, namespace: str) -> None:
    """What a quota controller does, for a quota of pods."""
    while True:
        quota = await client.get(RESOURCE_QUOTAS, "q", namespace)
        pods = (await client.list(RAW_PODS, namespace)).items
        alive = sum(pod["status"].get("phase") not in ("Succeeded", "Failed") for pod in pods)
        quota["status"] = {"hard": quota["spec"]["hard"], "used": {"pods": str(alive)}}
        try:
            await client.replace(RESOURCE_QUOTAS, quota, "q", namespace, subresource="status")
        except Conflict:
            continue
        return


def book_of(*quotas: Raw, limit_ranges: tuple[Raw, ...] = ()) -> NamespaceQuotas:
    book = NamespaceQuotas(lambda _: True)
    for number, limit_range in enumerate(limit_ranges):
        book.limit_range(str(number), limit_range, 0.0)
    for quota in quotas:
        book.observe(quota_of(quota), 0.0)
    return book


def counted(book: NamespaceQuotas, spec: Raw) -> dict[str, int]:
    """What the book thinks that a pod takes of quota q."""
    book.ask(Launch("id", "kind", "count/pods", lambda: spec), 0.0, 0.0)
    return {resource: used for resource, used in book.used("q", 0.0).items() if used}


@pytest.mark.parametrize("shape", SPECS)
async def test_a_pod_takes_what_the_server_says_it_takes(server: ServerUnderTest, shape: str) -> None:
    client, namespace = server.client, server.namespace
    await limit(client, namespace, "q", {"hard": HARD})
    before = await client.get(RESOURCE_QUOTAS, "q", namespace)
    await client.create(RAW_PODS, {"metadata": {"name": "a"}, "spec": SPECS[shape]}, namespace)
    after = quota_of(await quota_in(client, namespace))
    assert counted(book_of(before), SPECS[shape]) == {name: used for name, used in after.used.items() if used}


async def test_a_pod_takes_what_a_limit_range_gives_it(real_server: HttpServerUnderTest) -> None:
    client, namespace = real_server.client, real_server.namespace
    item = {
        "type": "Container",
        "default": {"cpu": "2", "memory": "1Gi"},
        "defaultRequest": {"cpu": "500m", "memory": "1Gi"},
    }
    limit_range = await client.create(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [item]}}, namespace)
    await limit(client, namespace, "q", {"hard": HARD})
    before = await client.get(RESOURCE_QUOTAS, "q", namespace)
    for spec in (
        {"containers": [{"name": "a", "image": "i"}]},
        {"containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "1"}}}, asking("b", "1")]},
    ):
        book = book_of(before, limit_ranges=(limit_range["spec"],))
        pod = await client.create(RAW_PODS, {"metadata": {"generateName": "a"}, "spec": spec}, namespace)
        after = quota_of(await quota_in(client, namespace))
        assert counted(book, spec) == {name: used for name, used in after.used.items() if used}
        await client.delete(RAW_PODS, pod["metadata"]["name"], namespace, grace_seconds=0)
        reset = {"status": {"used": dict.fromkeys(HARD, "0")}}
        before = await client.patch(RESOURCE_QUOTAS, "q", namespace, body=reset, subresource="status")


BOUNDS: dict[str, Raw] = {
    "max": {"type": "Container", "max": {"cpu": "1"}},
    "min": {"type": "Container", "min": {"cpu": "300m"}, "max": {"cpu": "8"}},
    "ratio": {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
    "max of a pod": {"type": "Pod", "max": {"cpu": "1"}},
    "max of memory": {"type": "Container", "max": {"memory": "1Gi"}},
}
RANGED = SPECS | {
    "a wide ratio": {
        "containers": [
            {"name": "a", "image": "i", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "750m"}}},
        ]
    },
    "nothing asked": {"containers": [{"name": "a", "image": "i"}]},
    "a small init container": {"containers": [asking("a", "1")], "initContainers": [asking("i", "100m")]},
}


@pytest.mark.parametrize("bound", BOUNDS)
async def test_what_is_never_allowed_by_a_limit_range_the_server_does_not_allow(
    real_server: HttpServerUnderTest, bound: str
) -> None:
    """And all that it refuses for more than a missing amount is known before."""
    client, namespace = real_server.client, real_server.namespace
    body = {"metadata": {"name": "l"}, "spec": {"limits": [BOUNDS[bound]]}}
    limit_range = await client.create(LIMIT_RANGES, body, namespace)
    await asyncio.sleep(1.0)  # admission has a cache of its own
    predicted = 0
    for shape, spec in RANGED.items():
        book = book_of(limit_ranges=(limit_range["spec"],))
        why = refusal = ""
        try:
            book.ask(Launch("id", "kind", "count/pods", spec.copy), 0.0, 0.0)
        except OutOfRange as error:
            why = str(error)
        try:
            await client.create(RAW_PODS, {"metadata": {"generateName": "a"}, "spec": spec}, namespace)
        except Denied as error:
            refusal = str(error)
        if why:
            predicted += 1
            assert " usage per " in refusal or " ratio per " in refusal, (shape, why, refusal)
        elif refusal and "is specified" not in refusal:
            raise AssertionError(f"{shape} is refused, and was not predicted: {refusal}")
    assert predicted


SCOPES: dict[str, Raw] = {
    "BestEffort": {"scopes": ["BestEffort"]},
    "NotBestEffort": {"scopes": ["NotBestEffort"]},
    "Terminating": {"scopes": ["Terminating"]},
    "NotTerminating": {"scopes": ["NotTerminating"]},
    "a priority class": {
        "scopeSelector": {
            "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}]
        }
    },
    "no priority class": {
        "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}
    },
    "across namespaces": {"scopes": ["CrossNamespacePodAffinity"]},
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_quota_with_scopes_is_about_the_pods_that_the_server_says(server: ServerUnderTest, scope: str) -> None:
    client, namespace = server.client, server.namespace
    await limit(client, namespace, "q", {"hard": {"pods": "10"}, **SCOPES[scope]})
    quota = await client.get(RESOURCE_QUOTAS, "q", namespace)
    term = {"topologyKey": "a", "namespaces": ["b"], "labelSelector": {"matchLabels": {"a": "b"}}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    shapes: tuple[dict[str, Any], ...] = ({}, {"activeDeadlineSeconds": 60}, {"affinity": affinity})
    for number, more in enumerate(shapes):
        for container in ({"name": "a", "image": "i"}, asking("a", "1")):
            spec: dict[str, Any] = {"containers": [container], **more}
            name = f"p{number}-{len(container)}"
            await client.create(RAW_PODS, {"metadata": {"name": name}, "spec": spec}, namespace)
            after = quota_of(await quota_in(client, namespace))
            assert counted(book_of(quota), spec).get("pods", 0) == after.used["pods"], (scope, spec)
            reset = {"status": {"used": {"pods": "0"}}}
            quota = await client.patch(RESOURCE_QUOTAS, "q", namespace, body=reset, subresource="status")


async def test_at_a_full_quota_nothing_is_refused_and_what_is_freed_is_used_at_once(
    real_server: HttpServerUnderTest, record_property: Any
) -> None:
    client, namespace = real_server.client, real_server.namespace
    await install_flyte_workflows(client)
    await limit(client, namespace, "q", {"hard": {"pods": "10"}})
    settings = Settings(checkpoint=CheckpointOptions(max_lag=0.2), storage=StorageOptions(metadata_prefix="memory://m"))
    async with (
        Storage(settings.storage, stores={"memory": MemoryStore()}) as storage,
        real_server.connect() as own,
        WorkflowController(own, storage, settings, namespace=namespace).running(),
    ):
        refused: list[Throttled] = []
        create = own.create

        async def counting(*args: Any, **kwargs: Any) -> Any:
            try:
                return await create(*args, **kwargs)
            except Throttled as error:
                refused.append(error)
                raise

        setattr(own, "create", counting)  # noqa: B010
        nodes = [task(f"n{number}") for number in range(1000)]
        made = {"metadata": {"name": "w"}, "spec": graph(*nodes), "tasks": {"t": TASK}}
        await client.create(WORKFLOWS, made, namespace)

        async def names() -> set[str]:
            return {pod["metadata"]["name"] for pod in (await client.list(RAW_PODS, namespace)).items}

        async def are(number: int) -> set[str]:
            found = await names()
            assert len(found) == number
            return found

        ran = await eventually(lambda: are(10))
        await asyncio.sleep(5.0)
        assert await names() == ran
        waits: list[float] = []
        loop = asyncio.get_running_loop()
        for number in range(10):
            body = {"status": {"phase": "Succeeded"}}
            await client.patch(RAW_PODS, sorted(ran)[number], namespace, body=body, subresource="status")
            await count(client, namespace)
            began = loop.time()
            while len(await names()) < 11 + number:
                assert loop.time() - began < 60
                await asyncio.sleep(0.002)
            waits.append(loop.time() - began)
        record_property("seconds from a free quota to a launch", sorted(waits)[5])
        print(f"from a free quota to a launch: median {sorted(waits)[5]:.3f} s, at most {max(waits):.3f} s")
        assert not refused
