"""A RoutingTable is followed without a restart, and its status says what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Unavailable
from propeller.informers import InformerOptions
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw, Request, Response
from propeller.routing import (
    RAW_ROUTING_TABLES,
    ROUTING_TABLES,
    ClusterState,
    LiveTable,
    RoutingOptions,
    routing_table_crd,
)


class Link:
    """Counts requests for RoutingTables; fails them while `error` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if "/routingtables" in request.path:
            self.asked.append(request.method)
            if self.error is not None:
                raise self.error
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk

    @property
    def writes(self) -> int:
        return self.asked.count("PATCH")


@dataclass
class Scene:
    """A server, a user, and processes that follow `routes`."""

    server: ApiServer
    user: Client
    link: Link = field(default_factory=Link)
    applied: list[list[str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    states: Mapping[str, ClusterState] = field(default_factory=dict)

    @asynccontextmanager
    async def following(self, *, writes: bool = True) -> AsyncIterator[LiveTable]:
        clock = LoopClock()
        live = LiveTable(
            Client(self.server.transport(interceptor=self.link), clock=clock),
            RoutingOptions(table="routes"),
            InformerOptions(),
            clock,
            changed=lambda table: self.applied.append(list(table.clusters)),
            refused=lambda table, error: self.refused.append(str(error)),
            states=(lambda: self.states) if writes else None,
        )
        async with live.following(30.0):
            yield live

    async def install(self) -> None:
        await self.user.create(CUSTOM_RESOURCE_DEFINITIONS, routing_table_crd())
        await asyncio.sleep(1.0)

    async def create(self, spec: Any, name: str = "routes") -> None:
        await self.user.create(RAW_ROUTING_TABLES, {"metadata": {"name": name}, "spec": spec})
        await asyncio.sleep(3.0)

    async def change(self, spec: Any) -> None:
        await self.user.patch(ROUTING_TABLES, "routes", body={"spec": spec})
        await asyncio.sleep(3.0)

    async def status(self) -> Raw:
        found: Raw = (await self.user.get(RAW_ROUTING_TABLES, "routes")).get("status", {})
        return found

    async def accepted(self) -> Raw:
        (condition,) = (await self.status())["conditions"]
        assert condition["type"] == "Accepted"
        return dict(condition)


def spec(*names: str, **rule: Any) -> Raw:
    return {
        "clusters": [{"name": name, "connection": {"context": name}} for name in names],
        "pools": [{"name": "all", "selector": ""}],
        "rules": [{"name": "any", "pool": "all", **rule}],
    }


WRONG = spec("a", match={"selector": "x=y,x=z"})
"""What the schema takes."""


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        yield Scene(server, Client(server.transport(), clock=LoopClock()))


async def test_what_there_is_is_in_force_before_anything_else_begins(scene: Scene) -> None:
    await scene.install()
    await scene.create(spec("a"))
    await scene.create(spec("z"), name="another")
    async with scene.following() as live:
        assert scene.applied == [["a"]]
        assert live.table is not None


async def test_a_change_is_in_force_at_once(scene: Scene) -> None:
    await scene.install()
    await scene.create(spec("a"))
    async with scene.following():
        await scene.change(spec("a", "b"))
        assert scene.applied == [["a"], ["a", "b"]]
        condition = await scene.accepted()
        assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("True", "InForce", 2)
        assert condition["message"] == "generation 2 is in force"


async def test_a_wrong_one_changes_nothing_and_its_condition_says_why_also_to_a_controller_that_starts(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.install()
    await scene.create(spec("a"))
    async with scene.following() as live:
        await scene.change(WRONG)
        assert scene.applied == [["a"]]
        assert live.is_refused()
        condition = await scene.accepted()
        assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("False", "Invalid", 2)
        why = "spec.rules[0]: nothing can match it: label x cannot be all that is asked of it"
        assert condition["message"] == f"{why}; generation 1 stays in force"
        assert scene.refused == [why]
        assert caplog.text.count("is not in force with generation 2") == 1
        assert (await scene.status())["accepted"] == {"generation": 1, "spec": spec("a")}
    scene.applied.clear()
    async with scene.following() as live:
        assert live.is_refused()
        assert scene.applied == [["a"]], "another process knows it from the status"
        await scene.change(spec("b"))
        assert scene.applied == [["a"], ["b"]]
        assert not live.is_refused()
        assert (await scene.accepted())["status"] == "True"


async def test_one_that_was_never_right_leaves_no_table(scene: Scene) -> None:
    await scene.install()
    await scene.create(WRONG)
    async with scene.following() as live:
        await asyncio.sleep(3.0)
        assert live.table is None
        assert live.missing == "there is no RoutingTable 'routes'"
        assert (await scene.accepted())["message"].endswith("; nothing of it is in force")
        assert "accepted" not in await scene.status()


async def test_one_that_is_deleted_stays_in_force_until_another_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.install()
    await scene.create(spec("a"))
    async with scene.following() as live:
        await scene.user.delete(ROUTING_TABLES, "routes")
        await asyncio.sleep(3.0)
        assert live.table is not None
        assert "RoutingTable routes was deleted: what it said last stays in force here" in caplog.text
        await scene.create(spec("b"))
        assert scene.applied == [["a"], ["b"]]
        assert (await scene.accepted())["status"] == "True"


async def test_the_status_has_the_clusters_and_is_written_only_if_it_changes_and_at_most_once_a_second(
    scene: Scene,
) -> None:
    await scene.install()
    await scene.create(spec("a", "b"))
    async with scene.following():
        await asyncio.sleep(3.0)
        before = scene.link.writes
        await asyncio.sleep(3600.0)
        assert scene.link.writes == before
        for pods in range(100):
            scene.states = {"a": ClusterState(pods=pods, executions=3)}
            await asyncio.sleep(0.1)
        assert before + 8 <= scene.link.writes <= before + 11
        scene.states = {"b": ClusterState(healthy=False, reason="no\nanswer"), "a": ClusterState(executions=2)}
        await asyncio.sleep(2.0)
        status = await scene.status()
        assert (status["healthy"], status["executions"], status["rules"]) == ("1/2", 2, 1)
        assert status["clusters"][1] == {
            "name": "b",
            "state": "active",
            "healthy": False,
            "reason": "no\\nanswer",
            "executions": 0,
            "pods": 0,
        }


async def test_a_process_that_does_not_act_for_the_cluster_writes_no_status(scene: Scene) -> None:
    await scene.install()
    await scene.create(spec("a"))
    async with scene.following(writes=False):
        await asyncio.sleep(60.0)
        assert scene.link.writes == 0


async def test_without_the_type_there_is_no_table_and_it_is_followed_when_it_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with scene.following() as live:
        await asyncio.sleep(3600.0)
        assert live.table is None
        assert caplog.text.count("so all executions wait: RoutingTables are not installed") == 1
        await scene.install()
        await scene.create(spec("a"))
        await asyncio.sleep(70.0)
        assert scene.applied == [["a"]]


async def test_an_api_server_that_does_not_answer_is_an_error_at_the_start_and_none_later(scene: Scene) -> None:
    await scene.install()
    await scene.create(spec("a"))
    scene.link.error = Unavailable("no answer")
    with pytest.raises(Unavailable):
        async with scene.following():
            raise AssertionError("entered")
    scene.link.error = None
    async with scene.following():
        scene.link.error = Unavailable("no answer")
        await asyncio.sleep(600.0)
        scene.link.error = None
        await asyncio.sleep(120.0)
        await scene.change(spec("b"))
        assert scene.applied == [["a"], ["b"]]


async def test_a_large_table_is_checked_in_a_thread_and_in_force_all_the_same(scene: Scene) -> None:
    await scene.install()
    large = spec("a")
    large["rules"] = [{"name": f"r{n}", "pool": "all", "match": {"projects": [f"p{n}"]}} for n in range(300)]
    await scene.create(large)
    async with scene.following():
        assert scene.applied == [["a"]]
