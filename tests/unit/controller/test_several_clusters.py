"""Executions over several clusters: where their attempts run, and what of it survives drains, outages and crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from propeller.config import RoutingOptions
from propeller.controller._failover import Failover
from propeller.controller._janitor import Janitor
from propeller.controller._members import Members
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import NAMESPACES, Request, Response
from tests.unit.controller.far import RAW_PODS, WORKFLOWS, Far, far, table
from tests.unit.workflow.drive import task

SETTLED = 5.0
ONE_AFTER_THE_OTHER: dict[str, Any] = {"edges": [("a", "b")]}
TO_EAST = "{name: first, pool: both, match: {projects: [nobody]}}"


async def _succeed(of: Far, pod: str) -> str:
    cluster = await of.where(pod)
    await of.report(cluster, pod, phase="Succeeded")
    await asyncio.sleep(SETTLED)
    return cluster


async def _on(of: Far, cluster: str, *, finalizers: list[str] | None = None) -> str:
    """The name of an execution in that cluster, of two tasks."""
    for number in range(8):
        await of.create(f"w{number}", task("a"), task("b"), finalizers=finalizers, **ONE_AFTER_THE_OTHER)
    await asyncio.sleep(SETTLED)
    pods = await of.pods(cluster)
    return min(pods).partition("-")[0]


class Recorder:
    """Notes what is written through it, in order."""

    def __init__(self, written: list[str], where: str) -> None:
        self._written = written
        self._where = where

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method in {"POST", "PATCH", "DELETE"}:
            self._written.append(f"{self._where}: {request.method} {request.path.rpartition('/namespaces/ns/')[2]}")
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk


class Silent:
    """An API server that answers nothing of what is asked through it, while it is so."""

    def __init__(self) -> None:
        self.silent = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.silent:
            raise Unavailable("there is no answer")
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.silent:
                raise Unavailable("the connection was cut")
            yield chunk


async def test_an_execution_has_one_cluster_and_the_status_says_which_and_why() -> None:
    async with far() as of, of.controller(table()):
        for number in range(20):
            await of.create(f"w{number}", task("a"), task("b"), **ONE_AFTER_THE_OTHER)
        await asyncio.sleep(SETTLED)
        first = [await _succeed(of, f"w{number}-a-0") for number in range(20)]
        second = [await _succeed(of, f"w{number}-b-0") for number in range(20)]
        assert first == second
        assert set(first) == {"east", "west"}
        for number, cluster in enumerate(first):
            status = await of.status(f"w{number}")
            assert (status["state"], status["cluster"]) == ("Succeeded", cluster)
            assert status["placement"]["reason"] == f"rule all: {cluster}, of pool both"


async def test_a_status_has_the_cluster_before_anything_is_launched_and_costs_one_write_for_all() -> None:
    written: list[str] = []
    async with far() as of:
        of.opener.interceptors = {name: Recorder(written, name) for name in of.servers}
        async with of.controller(table(), Recorder(written, "control")):
            await of.create("w", task("a"), task("b"), task("c"))
            await asyncio.sleep(SETTLED)
            cluster = await of.where("w-a-0")
        assert written == ["control: PATCH flyteworkflows/w/status", *[f"{cluster}: POST pods"] * 3]


async def test_a_pod_of_another_cluster_has_labels_in_the_place_of_an_owner_reference() -> None:
    async with far() as of, of.controller(table()):
        workflow = await of.create("w", task("a"))
        await asyncio.sleep(SETTLED)
        cluster = await of.where("w-a-0")
        metadata = (await of.pods(cluster))["w-a-0"]["metadata"]
        control = (await of.user.get(NAMESPACES, "kube-system"))["metadata"]["uid"]
        assert "ownerReferences" not in metadata
        assert metadata["annotations"]["propeller/workflow"] == "w"
        assert (
            metadata["labels"]
            | {
                "propeller/control": control,
                "propeller/cluster": cluster,
                "propeller/workflow-uid": workflow["metadata"]["uid"],
            }
            == metadata["labels"]
        )


async def test_after_a_restart_an_execution_stays_though_it_would_be_placed_elsewhere_now() -> None:
    async with far() as of:
        async with of.controller(table()):
            name = await _on(of, "east")
        async with of.controller(table(east="cordoned")):
            await asyncio.sleep(SETTLED)
            assert await _succeed(of, f"{name}-a-0") == "east"
            assert await _succeed(of, f"{name}-b-0") == "east"
            assert (await of.status(name))["state"] == "Succeeded"


async def test_a_cluster_that_is_drained_keeps_what_runs_and_gets_nothing_new() -> None:
    async with far() as of, of.controller(table()) as controller:
        name = await _on(of, "east")
        controller.route_by(table(east="draining"))
        await asyncio.sleep(SETTLED)
        assert await _succeed(of, f"{name}-a-0") == "east"
        assert await _succeed(of, f"{name}-b-0") == "west"
        status = await of.status(name)
        assert (status["state"], status["cluster"]) == ("Succeeded", "west")


async def test_an_execution_for_which_no_rule_is_waits_with_the_reason_until_one_is() -> None:
    async with far() as of, of.controller(table("{name: ml, pool: both, match: {projects: [ml]}}")) as controller:
        await of.create("w", task("a"), labels={"project": "sales"})
        await asyncio.sleep(of.settings.checkpoint.max_lag + SETTLED)
        assert await of.where("w-a-0") == ""
        waits = (await of.status("w"))["waits"]
        assert [(one["node"], one["reason"]) for one in waits] == [
            ("a", "no rule of the routing table matches project sales")
        ]
        controller.route_by(table())
        await asyncio.sleep(SETTLED)
        assert await of.where("w-a-0")


async def test_a_rule_about_tasks_places_single_attempts_elsewhere_and_the_status_has_them() -> None:
    rules = ("{name: large, pool: big, match: {resources: {cpu: 8}}}", "{name: rest, pool: small}")
    pools = "  - {name: big, clusters: [east]}\n  - {name: small, clusters: [west]}"
    large = task("b", resources={"requests": {"cpu": "16"}})
    async with far() as of:
        async with of.controller(table(*rules, pools=pools)):
            await of.create("w", task("a"), large)
            await asyncio.sleep(SETTLED)
            assert (await of.where("w-a-0"), await of.where("w-b-0")) == ("west", "east")
            status = await of.status("w")
            assert status["cluster"] == "west"
            assert status["placement"]["elsewhere"] == [{"node": "b", "attempt": 0, "cluster": "east"}]
        async with of.controller(table(*rules, pools=pools)):
            await asyncio.sleep(SETTLED)
            await _succeed(of, "w-a-0")
            await _succeed(of, "w-b-0")
            assert (await of.status("w"))["state"] == "Succeeded"


async def test_what_is_left_of_a_deleted_workflow_is_collected_in_every_cluster() -> None:
    async with far() as of, of.controller(table()):
        for number in range(6):
            await of.create(f"w{number}", task("a"))
        await asyncio.sleep(SETTLED)
        for number in range(3):
            await of.user.delete(WORKFLOWS, f"w{number}", "ns")
        await asyncio.sleep(SETTLED)
        left = {name for cluster in of.users for name in await of.pods(cluster)}
        assert left == {"w3-a-0", "w4-a-0", "w5-a-0"}


async def test_what_was_deleted_while_no_controller_ran_is_collected_by_the_next_one() -> None:
    async with far() as of:
        async with of.controller(table()):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
        cluster = await of.where("w-a-0")
        await of.user.delete(WORKFLOWS, "w", "ns")
        async with of.controller(table()):
            await asyncio.sleep(of.settings.clusters.orphans_after / 2)
            assert await of.where("w-a-0") == cluster
            await asyncio.sleep(of.settings.clusters.orphans_after)
            assert await of.where("w-a-0") == ""


async def test_nothing_is_an_orphan_while_the_cluster_of_the_workflows_does_not_answer() -> None:
    link = Silent()
    async with far() as of, of.controller(table(), link):
        await of.create("w", task("a"))
        await asyncio.sleep(SETTLED)
        cluster = await of.where("w-a-0")
        await of.user.delete(WORKFLOWS, "w", "ns")
        link.silent = True
        await asyncio.sleep(600.0)
        assert await of.where("w-a-0") == cluster
        link.silent = False
        await asyncio.sleep(120.0)
        assert await of.where("w-a-0") == ""


async def test_pods_of_another_control_cluster_are_left_alone() -> None:
    async with far() as of, of.controller(table()):
        stranger = {
            "metadata": {
                "name": "s",
                "labels": {
                    "execution-id": "s",
                    "propeller/control": "somebody-elses",
                    "propeller/cluster": "east",
                    "propeller/workflow-uid": "1",
                },
                "annotations": {"propeller/workflow": "s"},
            },
            "spec": {"containers": [{"name": "s", "image": "s"}]},
        }
        await of.users["east"].create(RAW_PODS, stranger, "ns")
        await asyncio.sleep(600.0)
        assert await of.where("s") == "east"


async def test_a_cluster_that_is_gone_gets_nothing_new_and_what_runs_there_is_tried_elsewhere_after_the_grace() -> None:
    async with far(grace=300.0) as of, of.controller(table()):
        name = await _on(of, "east")
        of.servers["east"].stop()
        await asyncio.sleep(60.0)
        for number in range(8, 16):
            await of.create(f"w{number}", task("a"))
        await asyncio.sleep(SETTLED)
        assert {f"w{number}-a-0" for number in range(8, 16)} <= (await of.pods("west")).keys()
        assert f"{name}-a-1" not in await of.pods("west")
        await asyncio.sleep(300.0)
        assert f"{name}-a-1" in await of.pods("west")
        status = await of.status(name)
        assert status["cluster"] == "west"
        of.servers["east"].start()
        await asyncio.sleep(120.0)
        assert f"{name}-a-0" not in await of.pods("east")
        await of.report("west", f"{name}-a-1", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        assert f"{name}-b-0" in await of.pods("west")


@pytest.mark.parametrize(
    ("of_class", "method"),
    [(Failover, "run"), (Janitor, "_look_into"), (Janitor, "_may_be_released"), (Members, "_watch_over")],
)
async def test_a_defect_of_one_round_ends_nothing_that_all_executions_need(
    of_class: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, calls = getattr(of_class, method), list[object]()

    def fails_at_first(*given: object) -> object:
        calls.append(given)
        return works(*given) if len(calls) > 2 else 1 / 0

    monkeypatch.setattr(of_class, method, fails_at_first)
    async with far(grace=300.0) as of, of.controller(table()):
        await asyncio.sleep(120.0)
        name = await _on(of, "east")
        gone = [f"w{number}" for number in range(8) if f"w{number}" != name]
        for one in gone:
            await of.user.delete(WORKFLOWS, one, "ns")
        await asyncio.sleep(300.0)
        assert {pod for cluster in of.users for pod in await of.pods(cluster)} == {f"{name}-a-0"}
        of.servers["east"].stop()
        await asyncio.sleep(400.0)
        assert f"{name}-a-1" in await of.pods("west")
    assert len(calls) > 2


async def test_what_ends_in_a_cluster_that_is_back_within_the_grace_counts() -> None:
    async with far(grace=300.0) as of, of.controller(table()):
        name = await _on(of, "east")
        of.servers["east"].stop()
        await asyncio.sleep(200.0)
        of.servers["east"].start()
        await of.report("east", f"{name}-a-0", phase="Succeeded")
        await asyncio.sleep(60.0)
        assert f"{name}-b-0" in {**await of.pods("east"), **await of.pods("west")}
        assert f"{name}-a-1" not in {**await of.pods("east"), **await of.pods("west")}


async def test_the_result_of_an_attempt_that_was_given_up_does_not_count() -> None:
    async with far(grace=60.0) as of, of.controller(table()):
        name = await _on(of, "east")
        of.servers["east"].stop()
        await asyncio.sleep(120.0)
        assert f"{name}-a-1" in await of.pods("west")
        of.servers["east"].start()
        await of.report("east", f"{name}-a-0", phase="Succeeded")
        await asyncio.sleep(120.0)
        assert f"{name}-b-0" not in {**await of.pods("east"), **await of.pods("west")}
        await of.report("west", f"{name}-a-1", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        assert f"{name}-b-0" in {**await of.pods("east"), **await of.pods("west")}


async def test_a_controller_that_starts_while_a_cluster_is_gone_runs_what_is_elsewhere() -> None:
    async with far(grace=300.0) as of:
        async with of.controller(table()):
            east, west = await _on(of, "east"), min(await of.pods("west")).partition("-")[0]
        of.servers["east"].stop()
        async with of.controller(table()):
            await asyncio.sleep(SETTLED)
            await of.report("west", f"{west}-a-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            assert f"{west}-b-0" in await of.pods("west")
            await asyncio.sleep(400.0)
            assert f"{east}-a-1" in await of.pods("west")
            await of.report("west", f"{east}-a-1", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            assert f"{east}-b-1" in await of.pods("west"), "attempt 0 may have been launched in the east unseen"
        of.servers["east"].start()


async def test_a_controller_that_starts_finds_the_pods_of_all_clusters_before_it_launches_anything() -> None:
    async with far() as of:
        async with of.controller(table()):
            name = await _on(of, "east")
            await of.report("east", f"{name}-a-0", phase="Succeeded")
            await asyncio.sleep(1.0)
            assert f"{name}-b-0" in await of.pods("east")
        await of.report("east", f"{name}-b-0", phase="Succeeded")
        written: list[str] = []
        of.opener.interceptors = {name: Recorder(written, name) for name in of.servers}
        async with of.controller(table()):
            await asyncio.sleep(SETTLED)
            assert (await of.status(name))["state"] == "Succeeded"
        assert written == []


async def test_a_controller_says_how_its_clusters_are() -> None:
    async with far() as of, of.controller(table(east="cordoned")) as controller:
        await of.create("w0", task("a"))
        await asyncio.sleep(SETTLED)
        controller.route_by(table(west="cordoned"))
        await of.create("w1", task("a"))
        await asyncio.sleep(SETTLED)
        assert (await of.where("w0-a-0"), await of.where("w1-a-0")) == ("west", "east")
        await _succeed(of, "w0-a-0")
        shown = {one["name"]: (one["healthy"], one["executions"], one["pods"]) for one in controller.several.page()}
        assert shown == {"east": (True, 1, 1), "west": (True, 0, 0)}


async def test_without_the_routing_table_that_the_settings_name_executions_wait() -> None:
    async with far() as of:
        settings = msgspec.structs.replace(of.settings, routing=RoutingOptions(table="default"))
        async with of.controller(None, settings=settings):
            await of.create("w", task("a"))
            await asyncio.sleep(of.settings.checkpoint.max_lag + SETTLED)
            assert (await of.status("w"))["waits"][0]["reason"] == "there is no RoutingTable 'default'"
            assert await of.where("w-a-0") == ""
            assert (await of.user.list(RAW_PODS, "ns")).items == ()


async def test_a_cluster_that_cannot_be_connected_to_delays_no_other() -> None:
    """A connection that is wrong, such as a kubeconfig that is not there."""
    async with far() as of:
        of.opener.broken = {"east"}
        async with of.controller(table()) as controller:
            for number in range(8):
                await of.create(f"w{number}", task("a"))
            await asyncio.sleep(SETTLED)
            assert 0 < len(await of.pods("west")) < 8, "those of the east wait for it a while"
            await asyncio.sleep(60.0)
            assert len(await of.pods("west")) == 8
            of.opener.broken = set()
            await asyncio.sleep(120.0)
            assert all(one["healthy"] and one["connected"] for one in controller.several.page())


async def _delete_while_east_is_away(of: Far, name: str) -> None:
    of.servers["east"].stop()
    await asyncio.sleep(60.0)
    await of.user.delete(WORKFLOWS, name, "ns")
    await asyncio.sleep(60.0)


async def test_a_workflow_with_flytes_finalizer_waits_for_its_cluster_no_longer_than_the_grace() -> None:
    async with far(grace=300.0) as of, of.controller(table()):
        name = await _on(of, "east", finalizers=["flyte.org/finalizer"])
        await _delete_while_east_is_away(of, name)
        assert await of.has_workflow(name), "its pod may still run"
        await asyncio.sleep(300.0)
        assert not await of.has_workflow(name)
        of.servers["east"].start()
        await asyncio.sleep(300.0)
        assert f"{name}-a-0" not in await of.pods("east")


async def test_a_workflow_with_flytes_finalizer_is_released_once_its_cluster_is_back_and_its_pod_has_stopped() -> None:
    async with far(grace=3000.0) as of, of.controller(table()):
        name = await _on(of, "east", finalizers=["flyte.org/finalizer"])
        await _delete_while_east_is_away(of, name)
        of.servers["east"].start()
        await asyncio.sleep(200.0)
        assert f"{name}-a-0" not in await of.pods("east")
        assert not await of.has_workflow(name)
