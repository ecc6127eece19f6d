"""Usage of quotas: which objects count, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.embedded.server import ApiServer
from propeller.errors import AlreadyExists, Denied, Throttled
from propeller.kube import CONFIG_MAPS, PODS, RESOURCE_QUOTAS, SECRETS, Client, Raw
from tests.unit.server.asking import DEFAULT, ask, config_map, pod


async def limit(client: Client, spec: Raw | None = None, /, **hard: str) -> None:
    body = {"metadata": {"name": "q"}, "spec": {"hard": hard, **(spec or {})}}
    await client.create(RESOURCE_QUOTAS, body, "default")
    await asyncio.sleep(0.01)


async def used(client: Client) -> dict[str, str]:
    found: dict[str, str] = (await client.get(RESOURCE_QUOTAS, "q", "default"))["status"]["used"]
    return found


def needing(name: str, *requests: str, init: tuple[tuple[str, str], ...] = (), **spec: Any) -> Raw:
    """A pod of one container for each request of CPU; `init` are (request, restart policy)."""
    body = pod(name)
    body["spec"] |= spec
    body["spec"]["containers"] = [container(f"c{index}", cpu) for index, cpu in enumerate(requests)]
    body["spec"]["initContainers"] = [
        container(f"i{index}", cpu) | ({"restartPolicy": policy} if policy else {})
        for index, (cpu, policy) in enumerate(init)
    ]
    return body


def container(name: str, cpu: str) -> Raw:
    return {"name": name, "image": "i", "resources": {"requests": {"cpu": cpu}}}


@pytest.mark.parametrize(
    ("body", "cores"),
    [
        (needing("p", "500m", "250m"), "750m"),
        (needing("p", "1", init=(("3", ""), ("2", ""))), "3"),
        (needing("p", "1", init=(("500m", "Always"), ("2", ""))), "2500m"),
        (needing("p", "2", init=(("500m", "Always"), ("1", ""))), "2500m"),
        (needing("p", "1", "1", init=(("1", "Always"), ("1", "Always"))), "4"),
    ],
    ids=["containers add up", "the largest init container", "a sidecar beside a later init", "sidecars run on", "all"],
)
async def test_a_pod_needs_what_it_needs_at_once(client: Client, body: Raw, cores: str) -> None:
    await limit(client, **{"requests.cpu": "10"})
    await client.create(PODS, body, "default")
    assert await used(client) == {"requests.cpu": cores}


async def test_the_refusal_is_the_real_servers_to_the_letter(server: ApiServer, client: Client) -> None:
    await limit(client, pods="2", **{"requests.cpu": "1"})
    await client.create(PODS, needing("a", "750m"), "default")
    refused = await ask(server, "POST", f"{DEFAULT}/pods", needing("b", "500m"))
    assert (refused["code"], refused["reason"]) == (403, "Forbidden")
    assert refused["message"] == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=750m, '
        "limited: requests.cpu=1"
    )


async def test_objects_from_before_the_quota_count(client: Client) -> None:
    await client.create(PODS, pod("a"), "default")
    await limit(client, pods="2")
    assert await used(client) == {"pods": "1"}


async def test_a_quota_is_enforced_from_its_first_moment(client: Client) -> None:
    await client.create(PODS, pod("a"), "default")
    body = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    await client.create(RESOURCE_QUOTAS, body, "default")
    with pytest.raises(Throttled):
        await client.create(PODS, pod("b"), "default")


async def test_a_pod_that_ended_counts_no_more_but_is_still_counted_as_an_object(client: Client) -> None:
    await limit(client, pods="5", **{"count/pods": "5"})
    await client.create(PODS, pod("a"), "default")
    await client.patch(PODS, "a", "default", body={"status": {"phase": "Succeeded"}}, subresource="status")
    await asyncio.sleep(0.01)
    assert await used(client) == {"count/pods": "1", "pods": "0"}
    await client.delete(PODS, "a", "default")
    await asyncio.sleep(0.01)
    assert await used(client) == {"count/pods": "0", "pods": "0"}


async def test_a_dry_run_is_refused_alike_and_charged_nothing(server: ApiServer, client: Client) -> None:
    await limit(client, pods="1")
    assert (await ask(server, "POST", f"{DEFAULT}/pods", pod("a"), dryRun="All"))["kind"] == "Pod"
    await client.create(PODS, pod("b"), "default")
    assert (await ask(server, "POST", f"{DEFAULT}/pods", pod("c"), dryRun="All"))["code"] == 403


async def test_a_pod_without_a_value_for_a_limited_resource_is_refused(server: ApiServer, client: Client) -> None:
    await limit(client, **{"limits.memory": "1Gi", "requests.cpu": "1"})
    refused = await ask(server, "POST", f"{DEFAULT}/pods", pod("a"))
    assert refused["message"].endswith("failed quota: q: must specify limits.memory for: main; requests.cpu for: main")


async def test_other_kinds_are_counted_by_their_plural(client: Client) -> None:
    await limit(client, configmaps="1", **{"count/secrets": "1"})
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    await client.create(SECRETS, config_map("a"), "default")
    with pytest.raises(Throttled, match="exceeded quota: q, requested: configmaps=1, used: configmaps=1"):
        await client.create(CONFIG_MAPS, config_map("b"), "default")
    with pytest.raises(Throttled, match="count/secrets=1"):
        await client.create(SECRETS, config_map("b"), "default")


async def test_an_object_whose_name_is_taken_is_charged_to_no_quota(client: Client) -> None:
    await limit(client, pods="5")
    await client.create(PODS, pod("a"), "default")
    with pytest.raises(AlreadyExists):
        await client.create(PODS, pod("a"), "default")
    assert await used(client) == {"pods": "1"}


async def test_a_refused_object_is_charged_to_no_quota(client: Client) -> None:
    for name, most in (("a", "5"), ("b", "0")):
        body = {"metadata": {"name": name}, "spec": {"hard": {"pods": most}}}
        await client.create(RESOURCE_QUOTAS, body, "default")
    await asyncio.sleep(0.01)
    with pytest.raises(Throttled, match="exceeded quota: b"):
        await client.create(PODS, pod("p"), "default")
    assert (await client.get(RESOURCE_QUOTAS, "a", "default"))["status"]["used"] == {"pods": "0"}


SELECTED = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}


@pytest.mark.parametrize(
    ("spec", "counted", "free"),
    [
        ({"scopes": ["BestEffort"]}, pod("a"), needing("b", "1")),
        ({"scopes": ["NotBestEffort"]}, needing("a", "1"), pod("b")),
        ({"scopes": ["Terminating"]}, needing("a", "1", activeDeadlineSeconds=5), needing("b", "1")),
        ({"scopes": ["NotTerminating"]}, needing("a", "1"), needing("b", "1", activeDeadlineSeconds=5)),
        ({"scopeSelector": SELECTED}, needing("a", "1", priorityClassName="high"), needing("b", "1")),
    ],
    ids=lambda given: str(next(iter(given.values()))) if "metadata" not in given else "",
)
async def test_a_quota_with_a_scope_counts_the_pods_in_it(client: Client, spec: Raw, counted: Raw, free: Raw) -> None:
    await limit(client, spec, pods="0")
    await client.create(PODS, free, "default")
    with pytest.raises(Throttled):
        await client.create(PODS, counted, "default")


async def test_raising_a_quota_makes_room(client: Client) -> None:
    await limit(client, pods="0")
    with pytest.raises(Throttled):
        await client.create(PODS, pod("a"), "default")
    await client.patch(RESOURCE_QUOTAS, "q", "default", body={"spec": {"hard": {"pods": "1"}}})
    await client.create(PODS, pod("a"), "default")
    assert await used(client) == {"pods": "1"}


async def test_a_quota_that_is_gone_limits_nothing(client: Client) -> None:
    await limit(client, pods="0")
    await client.delete(RESOURCE_QUOTAS, "q", "default")
    await client.create(PODS, pod("a"), "default")


async def test_a_pod_without_constraints_is_denied_for_good_not_throttled(client: Client) -> None:
    await limit(client, cpu="1")
    with pytest.raises(Denied, match="must specify cpu for: main"):
        await client.create(PODS, pod("a"), "default")
