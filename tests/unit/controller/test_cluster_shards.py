"""Executions of a cluster that has a shard of its own: who runs them, and what a version that is tried there may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from propeller.config import WorkflowShardOptions
from propeller.controller import WorkflowController
from propeller.controller._placing import LOOK_SECONDS
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.handlers.plugins import NESTING_ANNOTATION
from propeller.kube import NAMESPACES, Client, Request, Response
from propeller.reconcile.rollouts import Rollout, RolloutOptions, abort, begin
from propeller.reconcile.shards import LabelShards, Membership, change_rollout
from propeller.routing import Table
from propeller.workflow import SHARD_LABEL, key_of_cluster, shard_key
from tests.unit.controller.far import WORKFLOWS, Far, far, table
from tests.unit.controller.sharded import COUNT, Sharded
from tests.unit.workflow.drive import TASK, graph, task

SETTLED = 3.0
EAST = key_of_cluster("east")
EAST_SHARD = COUNT + 1


class Watching:
    """Notes the bodies of writes to workflows, and may lose an answer."""

    def __init__(self) -> None:
        self.writes: list[Request] = []
        self.lose = 0
        """How many answers to writes of the label get lost."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        response = await forward(request)
        if request.method == "PATCH" and "/flyteworkflows/" in request.path:
            self.writes.append(request)
            if self.lose and SHARD_LABEL.encode() in request.body:
                self.lose -= 1
                raise Unavailable("the answer is lost")
        return response

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


@asynccontextmanager
async def scene() -> AsyncIterator[Far]:
    async with far() as of:
        await of.user.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        shards = WorkflowShardOptions(count=COUNT, clusters=("east",))
        yield replace(of, settings=msgspec.structs.replace(of.settings, shards=shards))


@asynccontextmanager
async def member(
    of: Far, routes: Table, version: str = "1", watching: Watching | None = None
) -> AsyncIterator[Sharded]:
    client = Client(of.control.transport(interceptor=watching), clock=of.clock)
    made = WorkflowController(client, of.storage, of.settings, clock=of.clock, opener=of.opener)
    made.route_by(routes)
    assert made.shards is not None
    membership = Membership(
        *(client, "flyte", "group", COUNT + 2, made.shards, of.settings.shards, of.settings.election),
        version=version,
        note=made.shards.note,
        met=made.shards.met,
        named=(EAST,),
        confine=made.shards.confine,
        clock=of.clock,
    )
    async with made.running(), membership.joined():
        yield Sharded(made, membership)


async def create(of: Far, count: int, *nodes: str) -> None:
    for number in range(count):
        labels = {SHARD_LABEL: shard_key(f"w{number}")}
        await of.create(f"w{number}", *map(task, nodes or ("a",)), labels=labels)


async def roll_out(of: Far) -> None:
    await change_rollout(
        *(of.user, "flyte", "group"),
        lambda view: begin("2", "1", {}, view.map.count, RolloutOptions(), of.clock.now(), first=(EAST_SHARD,)),
    )


def aborted(of: Far, rollout: Rollout | None) -> Rollout:
    assert rollout is not None
    return abort(rollout, "it is bad", of.clock.now())


async def keys(of: Far) -> dict[str, str]:
    """The key of each workflow's shard."""
    items = (await of.user.list(WORKFLOWS, "ns")).items
    return {one["metadata"]["name"]: one["metadata"].get("labels", {}).get(SHARD_LABEL, "") for one in items}


async def test_executions_go_to_the_shard_of_their_cluster_and_run_there() -> None:
    async with scene() as of, member(of, table()) as one:
        await asyncio.sleep(SETTLED)
        await create(of, 12)
        await asyncio.sleep(SETTLED)
        found = await keys(of)
        for name, key in found.items():
            assert (await of.status(name))["cluster"] == ("east" if key == EAST else "west")
            assert await of.where(f"{name}-a-0") == ("east" if key == EAST else "west")
            assert key in {EAST, shard_key(name)}
        assert set(found.values()) > {EAST}
        pods = (await of.pods("east")).values()
        assert {pod["metadata"]["labels"][SHARD_LABEL] for pod in pods} == {EAST}
        assert one.pods("east") == set(await of.pods("east"))


async def test_an_execution_that_another_has_started_stays_in_that_ones_shard() -> None:
    async with scene() as of, member(of, table()):
        await asyncio.sleep(SETTLED)
        for number in range(12):
            name = f"w{number}"
            metadata = {
                "name": name,
                "labels": {SHARD_LABEL: shard_key("parent")},
                "annotations": {NESTING_ANNOTATION: "1"},
            }
            await of.user.create(
                WORKFLOWS, {"metadata": metadata, "spec": graph(task("a")), "tasks": {"t": TASK}}, "ns"
            )
        await asyncio.sleep(SETTLED)
        assert set((await keys(of)).values()) == {shard_key("parent")}
        assert await of.pods("east")


async def test_a_version_that_is_tried_in_a_cluster_runs_its_executions_and_no_others() -> None:
    async with scene() as of, member(of, table()) as old:
        await asyncio.sleep(SETTLED)
        await roll_out(of)
        async with member(of, table(), "2") as new:
            await asyncio.sleep(SETTLED)
            await create(of, 12)
            await asyncio.sleep(SETTLED)
            east = {f"ns/{name}" for name, key in (await keys(of)).items() if key == EAST}
            assert east
            assert new.keys == east
            assert not old.keys & east
            assert new.pods("east") == set(await of.pods("east"))
            assert not new.pods("west")


async def test_a_version_that_is_tried_waits_rather_than_launching_elsewhere_and_the_other_does_not() -> None:
    async with scene() as of, member(of, table()) as old:
        await asyncio.sleep(SETTLED)
        await roll_out(of)
        async with member(of, table(), "2") as new:
            await asyncio.sleep(SETTLED)
            for number in range(6):
                await of.create(f"w{number}", *map(task, "ab"), edges=[("a", "b")])
            await asyncio.sleep(SETTLED)
            east = [name for name, key in (await keys(of)).items() if key == EAST]
            assert east
            for each in (old, new):
                each.controller.route_by(table(east="draining"))
            for name in east:
                await of.report("east", f"{name}-a-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            assert [await of.where(f"{name}-b-0") for name in east] == [""] * len(east)
            await change_rollout(of.user, "flyte", "group", lambda view: aborted(of, view.map.rollout))
            await asyncio.sleep(2 * SETTLED)
            assert not new.keys
            await asyncio.sleep(2 * LOOK_SECONDS)
            assert all([await of.where(f"{name}-b-0") for name in east])
            assert {key for name, key in (await keys(of)).items() if name in east} == {EAST}


async def test_an_answer_that_is_lost_gives_no_execution_to_two() -> None:
    watching = Watching()
    watching.lose = 3
    async with scene() as of, member(of, table(), watching=watching):
        await asyncio.sleep(SETTLED)
        await create(of, 12)
        await asyncio.sleep(20 * SETTLED)
        found = await keys(of)
        assert watching.lose == 0
        for name, key in found.items():
            assert await of.where(f"{name}-a-0") == ("east" if key == EAST else "west")


async def test_of_a_new_execution_its_label_or_its_status_is_written_and_never_one_onto_the_other() -> None:
    """Both name the version that had neither: the second of two that do not know of each other is refused."""
    watching = Watching()
    async with scene() as of, member(of, table(), watching=watching):
        await asyncio.sleep(SETTLED)
        await create(of, 12)
        await asyncio.sleep(SETTLED)
    first = {request.path.removesuffix("/status"): request for request in reversed(watching.writes)}
    assert len(first) == 12
    assert all(b'"resourceVersion"' in request.body for request in watching.writes)


async def test_nothing_is_launched_for_an_execution_that_was_given_to_another_shard_meanwhile() -> None:
    """By a process that is dead by now: its request was on its way."""

    class Late(Watching):
        async def exchange(self, request: Request, forward: Forward) -> Response:
            if request.method == "PATCH" and b'"status"' in request.body and not self.writes:
                self.writes.append(request)
                body = {"metadata": {"labels": {SHARD_LABEL: EAST}}}
                await of.user.patch(WORKFLOWS, "w0", "ns", body=body)
            return await forward(request)

    only_west = table("{name: all, pool: alone}", pools="  - {name: alone, clusters: [west]}")
    async with scene() as of:
        late = Late()
        async with member(of, only_west, watching=late):
            await asyncio.sleep(SETTLED)
            await of.create("w0", task("a"), labels={SHARD_LABEL: shard_key("w0")})
            await asyncio.sleep(SETTLED)
            assert late.writes
            status = await of.status("w0")
            pods = await of.pods("west")
            assert {pod["metadata"]["labels"][SHARD_LABEL] for pod in pods.values()} == {EAST}
            assert status["cluster"] == "west"


@pytest.mark.parametrize(
    ("clusters", "says"),
    [(("a", "a"), "different names"), (("A_b",), "names of the routing table"), (("x" * 56,), "of 55 characters")],
)
def test_names_of_clusters_are_checked(clusters: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WorkflowShardOptions(count=4, clusters=clusters)


def test_clusters_have_shards_only_if_there_are_shards() -> None:
    with pytest.raises(ValueError, match="clusters needs count"):
        WorkflowShardOptions(clusters=("east",))


def test_a_controller_without_such_shards_takes_their_executions_for_ones_without_a_key() -> None:
    assert LabelShards(SHARD_LABEL, 32, 4).of({SHARD_LABEL: EAST}) == 4
