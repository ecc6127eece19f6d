"""Quotas: what they refuse, in which words, and that room which is freed can be used.

A quota's `status.hard` is what admission enforces; the quota controller copies it from the spec. Where there is none
(kube-apiserver alone), the tests write it in the controller's place.
"""

from __future__ import annotations

import asyncio

import pytest

from propeller.errors import Denied, Throttled
from propeller.kube import PODS, RESOURCE_QUOTAS, Raw
from propeller.testing import ServerUnderTest
from tests.contract.objects import DEADLINE, pod


async def limit(server: ServerUnderTest, **hard: str) -> None:
    """Set a quota, and wait until the server has it in force."""
    hard = {key.replace("_", "."): value for key, value in hard.items()}
    await server.client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, server.namespace)
    body = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    await server.client.patch(RESOURCE_QUOTAS, "q", server.namespace, body=body, subresource="status")


def asking(name: str, cpu: str) -> Raw:
    body = pod(name)
    body["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
    return body


async def used(server: ServerUnderTest) -> dict[str, str]:
    quota = await server.client.get(RESOURCE_QUOTAS, "q", server.namespace)
    found: dict[str, str] = quota["status"]["used"]
    return found


async def test_a_pod_beyond_the_quota_is_throttled_not_denied(server: ServerUnderTest) -> None:
    await limit(server, pods="1")
    await server.client.create(PODS, pod("a"), server.namespace)
    with pytest.raises(Throttled, match=r"exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1 \(403\)"):
        await server.client.create(PODS, pod("b"), server.namespace)
    assert await used(server) == {"pods": "1"}


async def test_cpu_is_summed_over_pods(server: ServerUnderTest) -> None:
    await limit(server, requests_cpu="1")
    await server.client.create(PODS, asking("a", "600m"), server.namespace)
    with pytest.raises(
        Throttled, match=r"requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    ):
        await server.client.create(PODS, asking("b", "500m"), server.namespace)
    await server.client.create(PODS, asking("c", "400m"), server.namespace)
    assert await used(server) == {"requests.cpu": "1"}


async def test_a_pod_that_does_not_say_what_it_needs_is_denied(server: ServerUnderTest) -> None:
    await limit(server, requests_cpu="1")
    with pytest.raises(Denied, match=r"failed quota: q: must specify requests\.cpu for: main"):
        await server.client.create(PODS, pod("a"), server.namespace)


async def test_a_quota_of_one_namespace_is_none_of_anothers(server: ServerUnderTest) -> None:
    await limit(server, pods="0")
    await server.client.create(PODS, pod("a"), await server.another_namespace())


async def test_creates_at_once_never_exceed_the_quota(server: ServerUnderTest) -> None:
    await limit(server, pods="5")
    results = await asyncio.gather(
        *(server.client.create(PODS, pod(f"p{number}"), server.namespace) for number in range(12)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 5
    assert len((await server.client.list(PODS, server.namespace)).items) == 5


async def test_deleted_and_ended_pods_make_room(embedded_server: ServerUnderTest) -> None:
    """It is the quota controller that counts down: asserted where there is one, on the embedded server."""
    server = embedded_server
    await limit(server, pods="2")
    await server.client.create(PODS, pod("a"), server.namespace)
    await server.client.create(PODS, pod("b", node="n"), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    body = {"status": {"phase": "Succeeded"}}
    await server.client.patch(PODS, "b", server.namespace, body=body, subresource="status")
    async with asyncio.timeout(DEADLINE):
        for name in ("c", "d"):
            while True:
                try:
                    await server.client.create(PODS, pod(name), server.namespace)
                    break
                except Throttled:
                    await asyncio.sleep(0.02)
