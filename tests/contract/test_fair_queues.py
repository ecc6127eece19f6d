"""The FairQueue type on each server: what its schema takes and refuses, and by CEL what only a real one evaluates."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import Malformed, Rejected
from propeller.fairqueues import FAIR_QUEUES, RAW_FAIR_QUEUES, Verdict, decode, fair_queue_crd
from propeller.fairqueues._report import conditions, usage_status
from propeller.kube import Client, Raw
from propeller.resourcemgr import PoolUsage, TenantUsage, Usage
from propeller.testing import ServerUnderTest
from tests.contract.objects import installed

FULL: Raw = {
    "pools": [
        {"name": "cluster", "capacity": 2000},
        {"name": "hive", "capacity": 80, "parent": "cluster"},
        {"name": "api", "rate": 0.5, "burst": 20},
    ],
    "tenants": [
        {"name": "ml", "weight": 2.5, "limits": {"cluster": 50}},
        {"name": "ml/production", "borrowing": {"hive": 5}, "lending": {"hive": 0}},
    ],
    "rules": [
        {"pools": {"cluster": 1}},
        {"taskType": "hive", "labels": {"size": "big"}, "pools": {"hive": 2}},
        {"project": "ml", "domain": "production", "resources": {"cluster": "nvidia.com/gpu"}},
    ],
}


@pytest.fixture
async def client(server: ServerUnderTest) -> Client:
    await installed(server.client, fair_queue_crd(), FAIR_QUEUES)
    return server.client


@pytest.fixture
async def real(real_server: ServerUnderTest) -> Client:
    await installed(real_server.client, fair_queue_crd(), FAIR_QUEUES)
    return real_server.client


async def create(client: Client, name: str, spec: Any, **options: Any) -> Raw:
    return await client.create(RAW_FAIR_QUEUES, {"metadata": {"name": name}, "spec": spec}, **options)


async def test_a_fairqueue_is_taken_whole_and_decodes_to_what_settings_say(client: Client) -> None:
    created = await create(client, "full", FULL)
    assert created["spec"] == FULL
    assert len(decode(created["spec"]).pools) == 3
    await client.delete(FAIR_QUEUES, "full")


async def test_what_is_left_out_is_empty(client: Client) -> None:
    created = await create(client, "empty", {})
    assert created["spec"] == {"pools": [], "tenants": [], "rules": []}
    await client.delete(FAIR_QUEUES, "empty")


BY_SCHEMA = [
    ({"pools": [{"name": "p", "capacity": -1}]}, "spec.pools[0].capacity"),
    ({"pools": [{"name": "p", "capacity": 1.5}]}, "spec.pools[0].capacity"),
    ({"pools": [{"name": "p", "capacity": 2**53 + 1}]}, "spec.pools[0].capacity"),
    ({"pools": [{"name": "p", "rate": 0}]}, "spec.pools[0].rate"),
    ({"pools": [{"name": "p", "rate": 1, "burst": 0}]}, "spec.pools[0].burst"),
    ({"pools": [{"name": "p q", "capacity": 1}]}, "spec.pools[0].name"),
    ({"pools": [{"capacity": 1}]}, "spec.pools[0].name"),
    ({"pools": [{"name": "p", "capacity": 1}] * 2}, "spec.pools[1]"),
    ({"pools": [{"name": f"p{number}", "capacity": 1} for number in range(101)]}, "spec.pools"),
    ({"tenants": [{"name": "a"}, {"name": "a", "weight": 2}]}, "spec.tenants[1]"),
    ({"tenants": [{"name": "a//b"}]}, "spec.tenants[0].name"),
    ({"tenants": [{"name": "a", "weight": 0}]}, "spec.tenants[0].weight"),
    ({"rules": [{"pools": {"p": -1}}]}, "spec.rules[0].pools.p"),
]


@pytest.mark.parametrize(
    ("spec", "field"), BY_SCHEMA, ids=[f"{field} {number}" for number, (_, field) in enumerate(BY_SCHEMA)]
)
async def test_the_schema_refuses_what_makes_no_sense(client: Client, spec: Raw, field: str) -> None:
    with pytest.raises(Rejected) as raised:
        await create(client, "wrong", spec)
    assert field in str(raised.value)


P: Raw = {"name": "p", "capacity": 1}
BY_CEL = [
    ({"pools": [{"name": "p"}]}, "a pool needs a capacity, a rate, or both"),
    ({"pools": [{"name": "p", "capacity": 1, "burst": 2}]}, "a burst needs a rate"),
    ({"pools": [{**P, "parent": "p"}]}, "a pool cannot be its own parent"),
    ({"pools": [{**P, "parent": "q"}]}, "a pool's parent has to be a pool of this FairQueue"),
    ({"pools": [P], "tenants": [{"name": "a", "limits": {"q": 1}}]}, "tenants: limits have to name pools"),
    ({"pools": [P], "tenants": [{"name": "a", "borrowing": {"q": 1}}]}, "tenants: borrowing have to name pools"),
    ({"pools": [P], "tenants": [{"name": "a", "lending": {"q": 1}}]}, "tenants: lending have to name pools"),
    ({"rules": [{"pools": {"p": 1}}]}, "rules: pools have to name pools of this FairQueue"),
    ({"pools": [P], "rules": [{"resources": {"q": "cpu"}}]}, "rules: resources have to name pools"),
]


@pytest.mark.parametrize(("spec", "word"), BY_CEL, ids=[word for _, word in BY_CEL])
async def test_cel_refuses_what_contradicts_itself_and_so_does_the_controller(
    real: Client, spec: Raw, word: str
) -> None:
    with pytest.raises(Malformed, match=word):
        await create(real, "wrong", spec)
    with pytest.raises(Exception, match=r"no pool|limits nothing|without a rate|cycle"):
        decode(spec)


async def test_the_largest_fairqueue_that_the_schema_allows_costs_cel_no_more_than_is_allowed(real: Client) -> None:
    names = [f"pool-{number:03}".ljust(16, "x") for number in range(100)]
    last = dict.fromkeys(names[-8:], 1)
    spec = {
        "pools": [{"name": name, "capacity": 1, "parent": names[-1]} for name in names[:-1]]
        + [{"name": names[-1], "capacity": 1}],
        "tenants": [{"name": f"{number}", "limits": last} for number in range(1024)],
        "rules": [{"pools": last} for _ in range(256)],
    }
    await create(real, "large", spec)
    decode(spec)
    await real.delete(FAIR_QUEUES, "large")


async def test_a_change_of_the_status_is_no_new_generation(client: Client) -> None:
    await create(client, "one", FULL)
    body = {"status": {"observedGeneration": 1, "accepted": {"generation": 1, "spec": FULL}}}
    after = await client.patch(RAW_FAIR_QUEUES, "one", body=body, subresource="status")
    assert after["metadata"]["generation"] == 1
    assert after["status"] == body["status"]
    after = await client.patch(RAW_FAIR_QUEUES, "one", body={"spec": {"rules": []}})
    assert after["metadata"]["generation"] == 2
    await client.delete(FAIR_QUEUES, "one")


async def test_a_status_is_taken_whatever_tenants_are_called(client: Client) -> None:
    """Names are cut, so that two may be alike."""
    await create(client, "hostile", {"pools": [{"name": "p", "capacity": 9}]})
    names = ["x" * 500 + "1", "x" * 500 + "2", "a\x1b[2J", "a\\x1b[2J", "ä\u202e", *map(str, range(60))]
    tenants = [TenantUsage((name,), 1.0, {"p": 1}, {"p": 2}) for name in names]
    status = usage_status(["p"], Usage((PoolUsage("p", 9, 9, 12),), tenants))
    ready = conditions(Verdict(None), 1, None, "2026-01-01T00:00:00Z")
    body = {"status": {**status, "conditions": ready, "observedGeneration": 1}}
    after = await client.patch(RAW_FAIR_QUEUES, "hostile", body=body, subresource="status")
    assert after["status"] == body["status"]
    few = {"status": usage_status(["p"], Usage((PoolUsage("p", 9, 9, 12),), tenants[:3]))}
    after = await client.patch(RAW_FAIR_QUEUES, "hostile", body=few, subresource="status")
    assert "otherTenants" not in after["status"]
    await client.delete(FAIR_QUEUES, "hostile")


async def test_server_side_apply_merges_tenants_of_several_managers(real: Client) -> None:
    await create(real, "shared", FULL)
    tenant = {"name": "etl", "limits": {"hive": 5}}
    body = {"metadata": {"name": "shared"}, "spec": {"tenants": [tenant]}}
    after = await real.apply(RAW_FAIR_QUEUES, body, field_manager="gitops")
    assert [one["name"] for one in after["spec"]["tenants"]] == ["ml", "ml/production", "etl"]
    await real.delete(FAIR_QUEUES, "shared")
