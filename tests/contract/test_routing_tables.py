"""The RoutingTable type on each server: what its schema takes and refuses, and what only a real one does, by CEL."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.clock import SYSTEM_CLOCK
from propeller.errors import Malformed
from propeller.informers import InformerOptions
from propeller.kube import Client, Raw
from propeller.routing import (
    RAW_ROUTING_TABLES,
    ROUTING_TABLES,
    ClusterState,
    InvalidTable,
    LiveTable,
    Problem,
    RoutingOptions,
    routing_table_crd,
    table_of,
)
from propeller.routing._checks import MAX_CLUSTERS, MAX_POOLS
from propeller.routing._report import Verdict, status_of
from propeller.testing import ServerUnderTest, eventually
from tests.contract.objects import DEADLINE, installed

FULL: Raw = {
    "clusters": [
        {
            "name": "a",
            "connection": {"kubeconfig": "/etc/kube/a", "context": "a"},
            "state": "cordoned",
            "weight": 0.5,
            "priority": -3,
            "labels": {"region": "eu"},
            "capacity": {"pods": 0, "executions": 10},
        },
        {
            "name": "b",
            "connection": {"secret": {"namespace": "flyte", "name": "b", "key": "config"}, "context": "x"},
            "weight": 3,
        },
        {"name": "c", "connection": {"inCluster": True}, "state": "bake"},
        {"name": "d.example", "connection": {"context": "d"}, "labels": {"region": "eu"}},
    ],
    "pools": [{"name": "eu", "selector": "region in (eu, us)"}, {"name": "rest", "clusters": ["b", "c"]}],
    "rules": [
        {
            "name": "training",
            "match": {
                "projects": ["ml", "ml-*"],
                "domains": ["production"],
                "workflows": ["flows.*"],
                "launchPlans": ["nightly"],
                "labels": {"team": "x"},
                "selector": "!old",
                "taskTypes": ["pytorch"],
                "accelerators": ["nvidia-*"],
                "resources": {"nvidia.com/gpu": 2, "memory": "1.5Gi"},
                "interruptible": False,
            },
            "pool": "eu",
            "isolate": True,
        },
        {"name": "any", "pool": "rest"},
    ],
}


@pytest.fixture
async def client(server: ServerUnderTest) -> Client:
    await installed(server.client, routing_table_crd(), ROUTING_TABLES)
    return server.client


@pytest.fixture
async def real(real_server: ServerUnderTest) -> Client:
    await installed(real_server.client, routing_table_crd(), ROUTING_TABLES)
    return real_server.client


async def create(client: Client, name: str, spec: Any) -> Raw:
    return await client.create(RAW_ROUTING_TABLES, {"metadata": {"name": name}, "spec": spec})


def changed(path: str, value: Any) -> Raw:
    """The whole table with one field of another value; None removes it."""
    spec: Any = _copy(FULL)
    *inside, last = path.split(".")
    place = spec
    for part in inside:
        place = place[int(part)] if part.isdecimal() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return dict(spec)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


async def test_a_table_is_taken_whole_and_is_what_a_file_of_it_is(client: Client) -> None:
    created = await create(client, "full", FULL)
    assert created["spec"] == FULL
    assert list(table_of(created["spec"]).clusters) == ["a", "b", "c", "d.example"]
    await client.delete(ROUTING_TABLES, "full")


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("clusters", None, "clusters"),
        ("clusters", [], "clusters"),
        ("clusters.0.name", "A", "name"),
        ("clusters.0.name", "a" * 64, "name"),
        ("clusters.0.connection", None, "connection"),
        ("clusters.0.state", "off", "state"),
        ("clusters.0.weight", -1, "weight"),
        ("clusters.0.weight", "1", "weight"),
        ("clusters.0.priority", 10**7, "priority"),
        ("clusters.0.capacity", {"pods": -1}, "pods"),
        ("clusters.1.connection.secret", {"name": "x"}, "namespace"),
        ("clusters.1.name", "a", "clusters"),
        ("pools.1.name", "eu", "pools"),
        ("pools.1.clusters", ["b", "b"], "clusters"),
        ("rules.0.pool", None, "pool"),
        ("rules.0.match.projects", "ml", "projects"),
        ("rules.0.match.projects", [""], "projects"),
        ("rules.0.match.interruptible", "yes", "interruptible"),
        ("rules.0.match.resources", {"gpu": 1.5}, "gpu"),
        ("rules.1.fallbacks", ["eu"] * 9, "fallbacks"),
    ],
)
async def test_the_schema_refuses_what_it_can_say(client: Client, path: str, value: Any, word: str) -> None:
    with pytest.raises(Malformed, match=word):
        await create(client, "wrong", changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("rules.0.pool", "us", "a rule's pool has to be a pool of this table"),
        ("rules.0.fallbacks", ["rest"], "an isolated rule has no fallbacks"),
        ("clusters.0.connection", {}, "a connection needs one of"),
        ("clusters.0.connection", {"inCluster": True, "kubeconfig": "x"}, "a connection needs one of"),
        ("clusters.0.connection", {"inCluster": False}, "a connection needs one of"),
        ("pools.0.selector", None, "a pool needs either clusters or a selector"),
        ("pools.0.clusters", ["a"], "a pool needs either clusters or a selector"),
    ],
)
async def test_cel_refuses_what_contradicts_itself(real: Client, path: str, value: Any, word: str) -> None:
    with pytest.raises(Malformed, match=word):
        await create(real, "wrong", changed(path, value))


async def test_a_table_with_a_thousand_rules_is_within_the_cost_of_the_rules(real: Client) -> None:
    large = {
        "clusters": [{"name": f"c{n}", "connection": {"context": f"c{n}"}} for n in range(MAX_CLUSTERS)],
        "pools": [{"name": f"{'p' * 50}{n}", "clusters": [f"c{n}"]} for n in range(MAX_POOLS)],
        "rules": [
            {"name": f"r{n}", "match": {"projects": [f"p{n}"]}, "pool": f"{'p' * 50}{n % MAX_POOLS}"}
            for n in range(1000)
        ],
    }
    created = await create(real, "large", large)
    assert len(table_of(created["spec"]).rules) == 1000
    await real.delete(ROUTING_TABLES, "large")


async def test_the_status_is_one_that_the_schema_takes(client: Client) -> None:
    await create(client, "full", FULL)
    table = table_of(FULL)
    states = {"a": ClusterState(pods=3, executions=2), "b": ClusterState(healthy=False, reason="no answer")}
    for verdict in (
        Verdict(table, 1, FULL),
        Verdict(table, 1, FULL, InvalidTable([Problem(("spec",), "is wrong")])),
        Verdict(None, refused=InvalidTable([Problem(("spec",), "is wrong")])),
    ):
        status = status_of(verdict, 1, states, None, "2026-01-01T00:00:00Z")
        await client.patch(ROUTING_TABLES, "full", body={"status": status}, subresource="status")
        written = (await client.get(RAW_ROUTING_TABLES, "full"))["status"]
        assert written == {name: value for name, value in status.items() if value is not None}
    await client.delete(ROUTING_TABLES, "full")


async def test_a_table_is_followed_and_its_status_says_what_came_of_it(client: Client) -> None:
    applied: list[list[str]] = []
    live = LiveTable(
        client,
        RoutingOptions(table="followed", status_interval=0.1),
        InformerOptions(),
        SYSTEM_CLOCK,
        changed=lambda table: applied.append(list(table.clusters)),
        refused=lambda table, error: None,
        states=lambda: {"a": ClusterState(healthy=False, reason="no answer", executions=3)},
    )

    async def condition(generation: int) -> Raw:
        status = (await client.get(RAW_ROUTING_TABLES, "followed")).get("status", {})
        (found,) = status.get("conditions") or [{}]
        assert found.get("observedGeneration") == generation
        return dict(found)

    await create(client, "followed", FULL)
    async with live.following(DEADLINE):
        assert applied == [["a", "b", "c", "d.example"]]
        assert (await eventually(lambda: condition(1), deadline=DEADLINE))["status"] == "True"
        status = (await client.get(RAW_ROUTING_TABLES, "followed"))["status"]
        assert (status["healthy"], status["executions"]) == ("3/4", 3)
        wrong = changed("rules.1.match", {"selector": "x=y,x=z"})
        await client.patch(ROUTING_TABLES, "followed", body={"spec": wrong})
        refused = await eventually(lambda: condition(2), deadline=DEADLINE)
        assert (refused["status"], refused["reason"]) == ("False", "Invalid")
        assert refused["message"].endswith("generation 1 stays in force")
        assert len(applied) == 1
    await client.delete(ROUTING_TABLES, "followed")
