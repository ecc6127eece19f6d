"""A controller that follows its routing table: executions wait for it, and go where the one in force says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from propeller.config import EventOptions, RoutingOptions, Settings
from propeller.controller import Recorder, WorkflowController
from propeller.errors import Invalid
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Client, Raw
from propeller.routing import RAW_ROUTING_TABLES, ROUTING_TABLES, routing_table_crd
from propeller.storage import MemoryStore, Storage
from propeller.telemetry import Metrics
from tests.unit.controller.far import RAW_PODS, Far, far
from tests.unit.workflow.drive import task

SETTLED = 5.0


def spec(pool: str = "east", **rule: Any) -> Raw:
    return {
        "clusters": [{"name": name, "connection": {"context": name}} for name in ("east", "west")],
        "pools": [{"name": name, "clusters": [name]} for name in ("east", "west")],
        "rules": [{"name": "any", "pool": pool, **rule}],
    }


WRONG = spec("west", match={"selector": "x=y,x=z"})


@asynccontextmanager
async def following(
    of: Far, *, namespace: str | None = None, metrics: Metrics | None = None
) -> AsyncIterator[WorkflowController]:
    settings = msgspec.structs.replace(of.settings, routing=RoutingOptions(table="routes"))
    client = Client(of.control.transport(), clock=of.clock)
    async with Recorder(client, EventOptions(), of.clock) as recorder:
        made = WorkflowController(
            client,
            of.storage,
            settings,
            clock=of.clock,
            opener=of.opener,
            recorder=recorder,
            namespace=namespace,
            metrics=metrics,
        )
        async with made.running() as controller:
            yield controller


async def install(of: Far) -> None:
    await of.user.create(CUSTOM_RESOURCE_DEFINITIONS, routing_table_crd())
    await asyncio.sleep(1.0)


async def declare(of: Far, declared: Raw) -> None:
    await of.user.create(RAW_ROUTING_TABLES, {"metadata": {"name": "routes"}, "spec": declared})
    await asyncio.sleep(SETTLED)


async def change(of: Far, declared: Raw) -> None:
    await of.user.patch(ROUTING_TABLES, "routes", body={"spec": declared})
    await asyncio.sleep(SETTLED)


async def test_executions_go_where_the_table_says_and_new_ones_where_the_next_one_does() -> None:
    async with far() as of:
        await install(of)
        await declare(of, spec("east"))
        async with following(of):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            assert await of.where("w-a-0") == "east"
            await change(of, spec("west"))
            await of.create("v", task("a"))
            await asyncio.sleep(SETTLED)
            assert await of.where("v-a-0") == "west"


async def test_without_the_table_executions_wait_and_are_launched_when_it_comes() -> None:
    async with far() as of, following(of):
        await of.create("w", task("a"))
        await asyncio.sleep(SETTLED)
        assert await of.where("w-a-0") == ""
        assert not (await of.user.list(RAW_PODS, "ns")).items, "never silently in the cluster of the FlyteWorkflows"
        await asyncio.sleep(60.0)
        assert "there is no RoutingTable 'routes'" in str(await of.status("w"))
        await install(of)
        await declare(of, spec("west"))
        await asyncio.sleep(65.0)  # the type is looked for once a minute by now
        assert await of.where("w-a-0") == "west"


async def test_a_table_that_is_refused_changes_nothing_and_an_event_says_why() -> None:
    async with far() as of:
        await install(of)
        await declare(of, spec("east"))
        metrics = Metrics()
        async with following(of, metrics=metrics):
            assert "propeller_routing_table_refused 0.0" in metrics.text().decode()
            await change(of, WRONG)
            assert "propeller_routing_table_refused 1.0" in metrics.text().decode()
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            assert await of.where("w-a-0") == "east"
            await asyncio.sleep(30.0)
            (event,) = (await of.user.list(EVENTS, "default")).items
            assert event["involvedObject"]["kind"] == "RoutingTable"
            assert (event["reason"], event["type"]) == ("Refused", "Warning")
            assert "nothing can match it" in event["message"]


async def test_the_status_has_what_runs_where() -> None:
    async with far() as of:
        await install(of)
        await declare(of, spec("east"))
        async with following(of):
            for name in ("v", "w"):
                await of.create(name, task("a"), task("b"))
            await asyncio.sleep(SETTLED)
            status = (await of.user.get(RAW_ROUTING_TABLES, "routes"))["status"]
            assert (status["healthy"], status["executions"]) == ("2/2", 2)
            east, west = status["clusters"]
            assert (east["name"], east["executions"], east["pods"]) == ("east", 2, 4)
            assert (west["executions"], west["pods"]) == (0, 0)


async def test_a_controller_of_one_namespace_follows_the_table_and_writes_no_status() -> None:
    async with far() as of:
        await install(of)
        await declare(of, spec("west"))
        async with following(of, namespace="ns"):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            assert await of.where("w-a-0") == "west"
            assert "status" not in await of.user.get(RAW_ROUTING_TABLES, "routes")


async def test_a_controller_that_cannot_connect_to_clusters_does_not_ignore_its_table() -> None:
    async with far() as of, Storage(of.settings.storage, stores={"memory": MemoryStore()}) as storage:
        settings = Settings(routing=RoutingOptions(file="routes.yaml"))
        with pytest.raises(Invalid, match="without a way to connect to other clusters"):
            WorkflowController(of.user, storage, settings, clock=of.clock)
