"""`propeller clusters`: what a controller says of them, what is counted, and what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from propeller.cli._clusters import _lines, statuses
from propeller.clock import LoopClock
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, PropellerError, Unavailable
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client
from propeller.routing import RAW_ROUTING_TABLES, Access, routing_table_crd, table_of
from propeller.testing import VirtualTimeLoop

SPEC: dict[str, Any] = {
    "clusters": [
        {"name": "home", "connection": {"inCluster": True}, "capacity": {"pods": 10}},
        {"name": "east", "connection": {"context": "east"}, "state": "draining", "weight": 2, "priority": 1},
        {"name": "gone", "connection": {"context": "gone"}},
    ],
    "pools": [{"name": "all", "selector": ""}],
    "rules": [{"name": "any", "pool": "all"}],
}


@dataclass
class Opener:
    east: Client

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        if access.context == "gone":
            raise Unavailable("nobody\nanswers")
        yield None if access.in_cluster else self.east

    async def has_changed(self, access: Access) -> bool:
        return False


@pytest.fixture
async def clients() -> AsyncIterator[tuple[Client, Client]]:
    """Of the control cluster, and of east: each with pods of attempts, and others."""
    async with ApiServer() as control, ApiServer() as east:
        found = Client(control.transport()), Client(east.transport())
        for number, client in enumerate(found):
            await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
            for name, labels in (("a", {"execution-id": "a"}), ("b", {}), ("c", {"execution-id": "c"}))[number:]:
                spec = {"containers": [{"name": "x", "image": "x"}]}
                await client.create(
                    PODS.typed(dict[str, Any]), {"metadata": {"name": name, "labels": labels}, "spec": spec}, "ns"
                )
        for definition in (workflow_crd(), routing_table_crd()):
            await found[0].create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        yield found


async def test_of_a_file_executions_and_pods_are_counted(clients: tuple[Client, Client]) -> None:
    control, east = clients
    for name, phase, cluster in (("a", 1, "east"), ("b", 3, "east"), ("c", 1, "home")):
        await control.create(FLYTE_WORKFLOWS, {"metadata": {"name": name}, "spec": {"id": name, "nodes": {}}}, "ns")
        body = {"status": {"phase": phase, "cluster": cluster}}
        await control.patch(FLYTE_WORKFLOWS, name, "ns", body=body, subresource="status")
    found = await statuses("routes.yaml", table_of(SPEC), control, Opener(east), 60.0)
    assert [(one.name, one.executions, one.pods, one.healthy) for one in found] == [
        ("home", 1, 2, None),
        ("east", 1, 1, None),
        ("gone", 0, None, None),
    ]
    assert found[2].answer is not None
    assert found[2].answer.error == "nobody\\nanswers"


async def test_of_a_routing_table_health_and_load_are_those_of_its_status(clients: tuple[Client, Client]) -> None:
    control, east = clients
    await control.create(RAW_ROUTING_TABLES, {"metadata": {"name": "routes"}, "spec": SPEC})
    before = await statuses("rt/routes", None, control, Opener(east), None)
    assert [(one.healthy, one.executions, one.pods, one.answer) for one in before] == [(None, 0, None, None)] * 3
    said = [
        {"name": "home", "state": "active", "healthy": True, "reason": "", "executions": 3, "pods": 7},
        {"name": "east", "state": "draining", "healthy": False, "reason": "no answer", "executions": 1, "pods": 0},
    ]
    accepted = {"generation": 1, "spec": {**SPEC, "clusters": SPEC["clusters"][:2]}}
    body = {"status": {"clusters": said, "accepted": accepted}}
    await control.patch(RAW_ROUTING_TABLES, "routes", body=body, subresource="status")
    found = await statuses("rt/routes", None, control, Opener(east), None)
    assert [line.split() for line in _lines(found)] == [
        ["CLUSTER", "STATE", "HEALTH", "EXECUTIONS", "PODS", "WEIGHT", "PRIORITY", "ANSWERS"],
        ["home", "active", "healthy", "3", "7/10", "1", "0", "not", "asked"],
        ["east", "draining", "unhealthy:", "no", "answer", "1", "0", "2", "1", "not", "asked"],
    ]


async def test_a_table_that_is_not_there_or_is_wrong_is_said(clients: tuple[Client, Client]) -> None:
    control, east = clients
    with pytest.raises(PropellerError, match="there is no RoutingTable 'routes'"):
        await statuses("rt/routes", None, control, Opener(east), None)
    wrong = {**SPEC, "rules": [{"name": "any", "pool": "all", "match": {"selector": "x=y,x=z"}}]}
    await control.create(RAW_ROUTING_TABLES, {"metadata": {"name": "routes"}, "spec": wrong})
    with pytest.raises(Invalid, match=r"rt/routes: spec.rules\[0\]: nothing can match it"):
        await statuses("rt/routes", None, control, Opener(east), None)


class Hanging(Opener):
    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        if access.context == "east":
            await asyncio.Event().wait()
        async with super().open(access) as client:
            yield client


def test_a_cluster_that_hangs_delays_no_other() -> None:
    async def answers() -> list[str]:
        clock = LoopClock()
        async with ApiServer(clock=clock) as control:
            client = Client(control.transport(), clock=clock)
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
            await asyncio.sleep(1.0)
            found = await statuses("routes.yaml", table_of(SPEC), client, Hanging(client), 60.0)
            return [one.answer.error for one in found if one.answer is not None]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(answers()) == ["", "no answer within 60 s", "nobody\\nanswers"]
