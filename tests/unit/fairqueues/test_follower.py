"""FairQueues are followed without a restart, and their statuses say who has what."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Invalid, NotFound, Unavailable
from propeller.fairqueues import FAIR_QUEUES, RAW_FAIR_QUEUES, Check, FairQueue, FairQueues, fair_queue_crd
from propeller.informers import InformerOptions
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw, Request, Response
from propeller.resourcemgr import Pool, PoolUsage, ResourceOptions, TenantUsage, Usage
from tests.unit.fairqueues.queues import pools

SETTINGS = ResourceOptions(pools=(Pool(name="all", capacity=100),), generation=3)


class Link:
    """Counts requests for FairQueues; fails them while `error` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if "/fairqueues" in request.path:
            self.asked.append(f"{request.method} {request.path.rpartition('v1alpha1/')[2]}")
            if self.error is not None:
                raise self.error
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk

    @property
    def writes(self) -> int:
        return sum(one.startswith("PATCH") for one in self.asked)


@dataclass
class Scene:
    """A server, a user, and processes that follow."""

    server: ApiServer
    user: Client
    link: Link = field(default_factory=Link)
    applied: list[ResourceOptions] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    usage: Usage | None = field(default_factory=Usage)
    """None while another process writes statuses."""

    @asynccontextmanager
    async def following(
        self, settings: ResourceOptions = SETTINGS, *, writes: bool = True, check: Check | None = None
    ) -> AsyncIterator[None]:
        clock = LoopClock()
        follower = FairQueues(
            Client(self.server.transport(interceptor=self.link), clock=clock),
            settings,
            InformerOptions(),
            clock,
            apply=self.applied.append,
            check=check,
            usage=(lambda: self.usage) if writes else None,
            refused=self._refused,
        )
        async with follower.following(30.0):
            yield

    def _refused(self, queue: FairQueue, error: Invalid) -> None:
        self.refused.append((queue.metadata.name, str(error)))

    async def install(self) -> None:
        await self.user.create(CUSTOM_RESOURCE_DEFINITIONS, fair_queue_crd())
        await asyncio.sleep(1.0)

    async def create(self, name: str, spec: Any) -> None:
        await self.user.create(RAW_FAIR_QUEUES, {"metadata": {"name": name}, "spec": spec})
        await asyncio.sleep(3.0)

    async def change(self, name: str, spec: Any) -> None:
        await self.user.patch(FAIR_QUEUES, name, body={"spec": spec})
        await asyncio.sleep(3.0)

    async def status(self, name: str) -> Raw:
        found: Raw = (await self.user.get(RAW_FAIR_QUEUES, name)).get("status", {})
        return found

    async def ready(self, name: str) -> Raw:
        (condition,) = (await self.status(name))["conditions"]
        assert condition["type"] == "Ready"
        return dict(condition)

    @property
    def capacities(self) -> dict[str, int | None]:
        """In force."""
        return {pool.name: pool.capacity for pool in (self.applied[-1] if self.applied else SETTINGS).pools}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        yield Scene(server, Client(server.transport(), clock=LoopClock()))


async def test_what_there_is_is_in_force_before_anything_else_begins(scene: Scene) -> None:
    await scene.install()
    await scene.create("a", pools(hive=8))
    async with scene.following():
        assert scene.capacities == {"all": 100, "hive": 8}


async def test_a_change_is_in_force_at_once_and_a_deletion_takes_it_back(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        assert scene.capacities == {"all": 100}
        await scene.create("a", pools(hive=8))
        assert scene.capacities == {"all": 100, "hive": 8}
        await scene.change("a", pools(hive=9, all=50))
        assert scene.capacities == {"all": 50, "hive": 9}
        await scene.user.delete(FAIR_QUEUES, "a")
        await asyncio.sleep(3.0)
        assert scene.capacities == {"all": 100}
        generations = [options.generation for options in scene.applied]
        assert generations == sorted(set(generations)), "each goes before the one before"
        assert generations[0] > SETTINGS.generation


async def test_a_spec_that_is_wrong_changes_nothing_and_its_condition_says_why(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    cycle = {"pools": [{"name": one, "capacity": 1, "parent": other} for one, other in (("p", "q"), ("q", "p"))]}
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        assert (await scene.ready("a"))["status"] == "True"
        await scene.change("a", cycle)
        assert scene.capacities == {"all": 100, "hive": 8}
        condition = await scene.ready("a")
        assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("False", "Invalid", 2)
        assert condition["message"].startswith("pools p -> q -> p are in a cycle: one needs another parent")
        assert condition["message"].endswith("generation 1 stays in force")
        assert scene.refused == [("a", "pools p -> q -> p are in a cycle: one needs another parent")]
        assert caplog.text.count("is not in force") == 1
    scene.applied.clear()
    async with scene.following():
        assert scene.capacities == {"all": 100, "hive": 8}, "another process knows it from the status"
        await scene.change("a", pools(hive=7))
        assert scene.capacities == {"all": 100, "hive": 7}
        assert (await scene.ready("a"))["status"] == "True"
        assert (await scene.status("a"))["accepted"]["spec"]["pools"] == [{"name": "hive", "capacity": 7}]


async def test_limits_that_cannot_be_in_force_here_are_refused_also_if_they_were_accepted_elsewhere(
    scene: Scene,
) -> None:
    def check(options: ResourceOptions) -> None:
        if any(pool.name == "hive" for pool in options.pools):
            raise Invalid("no hive here")

    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
    async with scene.following(check=check):
        await scene.create("b", pools(other=1))
        assert scene.capacities == {"all": 100, "other": 1}
        assert (await scene.ready("b"))["status"] == "True"
        condition = await scene.ready("a")
        assert condition["status"] == "False"
        assert "no hive here" in condition["message"]
        assert scene.refused == [("a", "no hive here")]
        await scene.change("a", pools(third=1))
        assert scene.capacities == {"all": 100, "other": 1, "third": 1}


async def test_two_that_declare_one_pool_are_both_told(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        await scene.create("b", pools(hive=9, other=1))
        assert scene.capacities == {"all": 100, "hive": 8}
        assert (await scene.ready("b"))["reason"] == "Collision"
        assert "belongs to FairQueue 'a'" in (await scene.ready("b"))["message"]
        await scene.user.delete(FAIR_QUEUES, "a")
        await asyncio.sleep(3.0)
        assert scene.capacities == {"all": 100, "hive": 9, "other": 1}
        assert (await scene.ready("b"))["status"] == "True"


async def test_the_condition_says_which_pools_of_the_settings_it_replaces(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(all=8))
        assert (await scene.ready("a"))["message"] == "generation 1 is in force; it replaces all of the settings"


async def test_the_status_has_usage_and_is_written_only_if_it_changes_and_at_most_once_a_second(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        before = scene.link.writes
        await asyncio.sleep(3600.0)
        assert scene.link.writes == before
        for held in range(100):
            tenant = TenantUsage(("ml",), 1.0, {"hive": held % 8}, {"hive": 3})
            scene.usage = Usage((PoolUsage("hive", held % 8, 8, 3),), (tenant,))
            await asyncio.sleep(0.1)
        assert before + 8 <= scene.link.writes <= before + 11
        await asyncio.sleep(2.0)
        status = await scene.status("a")
        assert (status["usage"], status["waiting"], status["activeTenants"]) == ("hive 3/8", 3, 1)
        assert status["tenants"] == [{"name": "ml", "held": {"hive": 3}, "waiting": 3, "share": 0.375, "ideal": 1}]
        scene.usage = Usage()
        await asyncio.sleep(2.0)
        assert (await scene.status("a"))["tenants"] == []


async def test_a_process_that_does_not_act_for_the_cluster_writes_no_status(scene: Scene) -> None:
    await scene.install()
    async with scene.following(writes=False):
        await scene.create("a", pools(hive=8))
        assert scene.capacities == {"all": 100, "hive": 8}
        assert scene.link.writes == 0


async def test_while_another_process_writes_statuses_none_is_written_and_what_it_wrote_is_known_after_it(
    scene: Scene,
) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        await asyncio.sleep(5.0)
        scene.usage, before = None, scene.link.writes
        await scene.user.patch(RAW_FAIR_QUEUES, "a", body={"status": {"waiting": 7}}, subresource="status")
        await asyncio.sleep(5.0)
        assert scene.link.writes == before
        scene.usage = Usage()
        await asyncio.sleep(5.0)
        assert scene.link.writes == before + 1
        assert (await scene.user.get(RAW_FAIR_QUEUES, "a"))["status"]["waiting"] == 0


async def test_without_the_type_the_settings_are_in_force_and_it_is_followed_when_it_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with scene.following():
        await asyncio.sleep(3600.0)
        assert not scene.applied
        assert len(scene.link.asked) <= 68  # one a minute, and six while the pauses grow
        assert caplog.text.count("FairQueues are not installed") == 1
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
        await scene.install()
        await scene.create("a", pools(hive=8))
        await asyncio.sleep(70.0)
        assert scene.capacities == {"all": 100, "hive": 8}


async def test_a_type_that_is_served_a_moment_after_the_start_is_followed_within_two_seconds(scene: Scene) -> None:
    """As an API server serves a type some moments after it was installed."""
    async with scene.following():
        await scene.install()
        await scene.create("a", pools(hive=8))
        await asyncio.sleep(2.0)
        assert scene.capacities == {"all": 100, "hive": 8}


async def test_a_server_that_cannot_be_reached_keeps_it_from_beginning_but_not_from_going_on(scene: Scene) -> None:
    await scene.install()
    await scene.create("a", pools(hive=8))
    scene.link.error = Unavailable("gone")
    with pytest.raises(Unavailable):
        async with scene.following():
            pass
    scene.link.error = None
    async with scene.following():
        scene.link.error = Unavailable("gone")
        await asyncio.sleep(600.0)
        assert scene.capacities == {"all": 100, "hive": 8}
        scene.link.error = None
        await scene.change("a", pools(hive=9))
        await asyncio.sleep(60.0)
        assert scene.capacities == {"all": 100, "hive": 9}


async def test_a_status_that_cannot_be_written_is_tried_with_growing_pauses(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        scene.link.error = NotFound("it is not there")
        before = scene.link.writes
        scene.usage = Usage((PoolUsage("hive", 1, 8, 0),))
        await asyncio.sleep(3600.0)
        assert scene.link.writes - before < 130
        scene.link.error = None
        await asyncio.sleep(70.0)
        assert (await scene.status("a"))["usage"] == "hive 1/8"


async def test_a_fairqueue_of_the_same_name_that_is_created_anew_has_a_status_of_its_own(scene: Scene) -> None:
    await scene.install()
    async with scene.following():
        await scene.create("a", pools(hive=8))
        await scene.user.delete(FAIR_QUEUES, "a")
        await scene.create("a", pools(hive=2))
        assert scene.capacities == {"all": 100, "hive": 2}
        assert (await scene.status("a"))["accepted"]["spec"]["pools"] == [{"name": "hive", "capacity": 2}]


async def test_a_restored_server_may_have_another_spec_of_the_same_generation(scene: Scene) -> None:
    await scene.install()
    await scene.create("a", pools(hive=8))
    async with scene.following():
        backup = scene.server.back_up()
        await scene.change("a", pools(hive=9))
        scene.server.restore(backup)
        scene.server.start()
        await scene.user.patch(FAIR_QUEUES, "a", body={"spec": pools(hive=7)})
        assert (await scene.user.get(FAIR_QUEUES, "a")).metadata.generation == 2, "as the one before"
        await asyncio.sleep(120.0)
        assert scene.capacities == {"all": 100, "hive": 7}
        assert (await scene.status("a"))["accepted"]["spec"]["pools"] == [{"name": "hive", "capacity": 7}]
