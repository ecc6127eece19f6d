"""Limits that change while tasks run and wait, by FairQueues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from propeller.config import EventOptions, ResourceOptions
from propeller.controller import Recorder
from propeller.fairqueues import FAIR_QUEUES, RAW_FAIR_QUEUES, fair_queue_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Client, Raw
from propeller.resourcemgr import Pool, Rule
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

NODES = [task(f"n{number}") for number in range(6)]
EVERY = {"pools": {"db": 1}}


def spec(capacity: int, **more: Any) -> Raw:
    return {"pools": [{"name": "db", "capacity": capacity}], "rules": [EVERY], **more}


@asynccontextmanager
async def cluster(resources: ResourceOptions | None = None) -> AsyncIterator[Bench]:
    async with bench(resources=resources) as of:
        await of.user.create(CUSTOM_RESOURCE_DEFINITIONS, fair_queue_crd())
        yield of


async def declare(of: Bench, spec: Raw, name: str = "fair") -> None:
    await of.user.create(RAW_FAIR_QUEUES, {"metadata": {"name": name}, "spec": spec})
    await asyncio.sleep(3.0)


async def change(of: Bench, spec: Raw, name: str = "fair") -> None:
    await of.user.patch(FAIR_QUEUES, name, body={"spec": {"tenants": None, **spec}})
    await asyncio.sleep(3.0)


async def start(of: Bench, name: str, **labels: str) -> None:
    resource = {"metadata": {"name": name, "labels": labels}, "spec": graph(*NODES), "tasks": {"t": TASK}}
    await of.user.create(WORKFLOWS, resource, "ns")
    await asyncio.sleep(5.0)


async def running(of: Bench) -> list[str]:
    pods = (await of.user.list(RAW_PODS, "ns")).items
    return sorted(pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") != "Succeeded")


async def succeed(of: Bench, count: int = 1) -> None:
    for pod in (await running(of))[:count]:
        await of.report(pod, phase="Succeeded")
    await asyncio.sleep(5.0)


async def status(of: Bench, name: str = "fair") -> Raw:
    found: Raw = (await of.user.get(RAW_FAIR_QUEUES, name))["status"]
    return found


async def test_a_limit_that_is_raised_launches_what_waits_at_once_and_a_lowered_one_kills_nothing() -> None:
    async with cluster() as of, of.controller():
        await declare(of, spec(2))
        await start(of, "w")
        assert len(await running(of)) == 2
        await change(of, spec(4))
        assert len(await running(of)) == 4
        await change(of, spec(1))
        assert len(await running(of)) == 4
        await succeed(of, 3)
        assert len(await running(of)) == 1, "nothing is launched until it is below the limit"
        await succeed(of)
        assert len(await running(of)) == 1


async def test_limits_of_a_fairqueue_hold_from_the_first_launch_after_a_restart() -> None:
    async with cluster() as of:
        await declare(of, spec(2))
        async with of.controller():
            await start(of, "w")
        async with of.controller():
            await start(of, "v")
            assert await running(of) == ["w-n0-0", "w-n1-0"]


async def test_a_fairqueue_that_is_deleted_gives_way_to_the_settings() -> None:
    settings = ResourceOptions(pools=(Pool(name="db", capacity=3),), rules=(Rule(pools={"db": 1}),))
    async with cluster(settings) as of, of.controller():
        await declare(of, spec(1))
        await start(of, "w")
        assert len(await running(of)) == 1
        await of.user.delete(FAIR_QUEUES, "fair")
        await asyncio.sleep(5.0)
        assert len(await running(of)) == 3


async def test_without_any_pool_left_nothing_waits() -> None:
    async with cluster() as of, of.controller():
        await declare(of, spec(1))
        await start(of, "w")
        await of.user.delete(FAIR_QUEUES, "fair")
        await asyncio.sleep(5.0)
        assert len(await running(of)) == 6


async def test_weights_that_change_are_those_of_the_next_turns() -> None:
    async with cluster() as of, of.controller():
        await declare(of, spec(2))
        await start(of, "a", project="a")
        await start(of, "b", project="b")
        await change(of, spec(4, tenants=[{"name": "b", "weight": 3}]))
        assert [name[0] for name in await running(of)] == ["a", "a", "b", "b"]
        await succeed(of)
        assert [name[0] for name in await running(of)] == ["a", "b", "b", "b"]


async def test_a_tenants_limit_and_what_it_may_borrow_hold_live() -> None:
    async with cluster() as of, of.controller():
        tenants: list[Raw] = [{"name": "a", "borrowing": {"db": 0}}, {"name": "b"}]
        await declare(of, spec(4, tenants=tenants))
        await start(of, "a", project="a")
        assert len(await running(of)) == 2, "its share of 4"
        tenants[0]["borrowing"] = {"db": 1}
        await change(of, spec(4, tenants=tenants))
        assert len(await running(of)) == 3
        await change(of, spec(4))
        assert len(await running(of)) == 4


async def test_what_a_tenant_does_not_lend_is_kept_live() -> None:
    async with cluster() as of, of.controller():
        tenants: list[Raw] = [{"name": "a"}, {"name": "b", "lending": {"db": 1}}]
        await declare(of, spec(4, tenants=tenants))
        await start(of, "a", project="a")
        assert len(await running(of)) == 3, "its share of 4, and one of those of b"
        await start(of, "b", project="b")
        assert [name[0] for name in await running(of)] == ["a", "a", "a", "b"]
        tenants[1]["lending"] = {"db": 0}
        await change(of, spec(4, tenants=tenants))
        await succeed(of, 1)
        assert [name[0] for name in await running(of)] == ["a", "a", "b", "b"]


async def test_a_pool_that_was_deleted_and_comes_back_counts_what_still_runs() -> None:
    async with cluster() as of, of.controller():
        await declare(of, spec(2))
        await start(of, "w")
        await of.user.delete(FAIR_QUEUES, "fair")
        await declare(of, spec(2))
        assert len(await running(of)) == 6, "it was gone for three seconds"
        await succeed(of, 4)
        await start(of, "v")
        assert len(await running(of)) >= 2


async def test_the_status_says_who_holds_and_who_waits() -> None:
    async with cluster() as of, of.controller():
        await declare(of, spec(3, tenants=[{"name": "b", "weight": 2}]))
        await start(of, "a", project="a", domain="production")
        await start(of, "b", project="b")
        await succeed(of, 2)
        found = await status(of)
        assert (found["usage"], found["waiting"], found["activeTenants"]) == ("db 3/3", 7, 3)
        rows = {row["name"]: (row["held"], row["waiting"], row["share"], row["ideal"]) for row in found["tenants"]}
        assert rows == {
            "a": ({"db": 1}, 3, 0.333, 0.333),
            "a/production": ({"db": 1}, 3, 0.333, 0.333),
            "b": ({"db": 2}, 4, 0.667, 0.667),
        }


async def test_a_controller_of_one_namespace_follows_and_leaves_the_status_to_others() -> None:
    async with cluster() as of, of.controller(namespace="ns"):
        await declare(of, spec(2))
        await start(of, "w")
        assert len(await running(of)) == 2
        assert "status" not in await of.user.get(RAW_FAIR_QUEUES, "fair")


async def test_with_the_setting_off_they_are_not_asked_for() -> None:
    async with cluster(ResourceOptions(fair_queues=False)) as of, of.controller():
        await declare(of, spec(2))
        await start(of, "w")
        assert len(await running(of)) == 6


async def test_a_fairqueue_that_is_refused_has_an_event() -> None:
    wrong = {"pools": [{"name": one, "capacity": 1, "parent": other} for one, other in (("p", "q"), ("q", "p"))]}
    async with cluster() as of:
        recorder = Recorder(Client(of.server.transport(), clock=of.clock), EventOptions(), of.clock)
        async with recorder, of.controller(recorder=recorder):
            await declare(of, wrong)
            await asyncio.sleep(30.0)
            (event,) = (await of.user.list(EVENTS, "default")).items
            assert (event["type"], event["reason"]) == ("Warning", "Refused")
            assert event["involvedObject"]["kind"] == "FairQueue"
            assert event["involvedObject"]["apiVersion"] == "propeller.dev/v1alpha1"
            assert "are in a cycle" in event["message"]


async def test_an_annotation_means_nothing_while_there_is_no_pool_and_something_as_soon_as_there_is() -> None:
    wants = {**TASK, "metadata": {"metadata": {"annotations": {"propeller/pools": "db=2"}}}}
    async with cluster() as of, of.controller():
        for name in ("v", "w"):
            resource = {"metadata": {"name": name}, "spec": graph(*NODES[:2]), "tasks": {"t": wants}}
            await of.user.create(WORKFLOWS, resource, "ns")
            await asyncio.sleep(5.0)
            if name == "v":
                assert len(await running(of)) == 2
                await declare(of, {"pools": [{"name": "db", "capacity": 3}]})
        assert await running(of) == ["v-n0-0", "v-n1-0", "w-n0-0"]
