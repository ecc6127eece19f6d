"""Controllers that divide the workflows of a cluster among them, and run them in several others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec

from propeller.config import RoutingOptions, Settings, WorkflowShardOptions
from propeller.controller import WorkflowController
from propeller.controller._cluster_peers import MAX_CLUSTERS, ClusterPeers
from propeller.controller._clusters import Clusters, Elsewhere, Member
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from propeller.reconcile.shards import Peers
from propeller.routing import ROUTING_TABLES, Table, parse_table, routing_table_crd
from propeller.workflow import SHARD_LABEL, shard_key
from tests.unit.controller.far import WORKFLOWS, Far, far, table
from tests.unit.controller.sharded import COUNT, Sharded, joined
from tests.unit.controller.test_several_clusters import Silent
from tests.unit.workflow.drive import task

SETTLED = 3.0
NODES = ("a", "b")
EDGES = [("a", "b")]


@asynccontextmanager
async def member(of: Far, routes: Table | None, *, settings: Settings | None = None) -> AsyncIterator[Sharded]:
    client = Client(of.control.transport(), clock=of.clock)
    settings = settings or of.settings
    made = WorkflowController(client, of.storage, settings, clock=of.clock, opener=of.opener)
    if routes is not None:
        made.route_by(routes)
    async with joined(made, client, settings, of.clock) as membership:
        yield Sharded(made, membership)


@asynccontextmanager
async def scene(**options: float) -> AsyncIterator[Far]:
    async with far(**options) as of:
        await of.user.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        yield replace(of, settings=msgspec.structs.replace(of.settings, shards=WorkflowShardOptions(count=COUNT)))


async def create(of: Far, count: int) -> None:
    """Workflows of two tasks, a fourth of them without a shard key."""
    for number in range(count):
        labels = {SHARD_LABEL: shard_key(f"w{number}")} if number % 4 else {}
        await of.create(f"w{number}", *map(task, NODES), labels=labels, edges=EDGES)


async def succeed_all(of: Far) -> None:
    for cluster in of.users:
        for name, pod in (await of.pods(cluster)).items():
            if pod.get("status", {}).get("phase") != "Succeeded":
                await of.report(cluster, name, phase="Succeeded")


async def states(of: Far) -> Counter[str]:
    items = (await of.user.list(WORKFLOWS, "ns")).items
    return Counter(item.get("status", {}).get("state", "") for item in items)


async def test_each_process_caches_of_each_cluster_the_attempts_of_its_own_shards_alone() -> None:
    async with scene() as of, member(of, table()) as one, member(of, table()) as two:
        await asyncio.sleep(SETTLED)
        await create(of, 24)
        await asyncio.sleep(SETTLED)
        assert one.keys | two.keys == {f"ns/w{number}" for number in range(24)}
        assert not one.keys & two.keys
        for cluster in ("east", "west"):
            assert one.pods(cluster) | two.pods(cluster) == set(await of.pods(cluster))
            assert not one.pods(cluster) & two.pods(cluster)
            assert one.pods(cluster)
            assert two.pods(cluster)
        for _ in NODES:
            await succeed_all(of)
            await asyncio.sleep(SETTLED)
        assert await states(of) == {"Succeeded": 24}
        assert sum([len(await of.pods(cluster)) for cluster in of.users]) == 48


async def test_attempts_in_other_clusters_go_on_where_their_shard_goes() -> None:
    async with scene() as of, AsyncExitStack() as stack:
        async with member(of, table()) as one:
            await asyncio.sleep(SETTLED)
            await create(of, 24)
            await asyncio.sleep(SETTLED)
            before = {cluster: set(await of.pods(cluster)) for cluster in of.users}
            two = await stack.enter_async_context(member(of, table()))
            await asyncio.sleep(2 * SETTLED)
            assert one.keys
            assert two.keys
            for cluster in of.users:
                assert one.pods(cluster) | two.pods(cluster) == before[cluster]
                assert not one.pods(cluster) & two.pods(cluster)
                assert one.page(cluster)["pods"] == two.page(cluster)["pods"] == len(before[cluster])
            await succeed_all(of)
            await asyncio.sleep(SETTLED)
        await asyncio.sleep(SETTLED)
        assert len(two.keys) == 24
        await succeed_all(of)
        await asyncio.sleep(SETTLED)
        assert await states(of) == {"Succeeded": 24}
        assert sum([len(await of.pods(cluster)) for cluster in of.users]) == 48


async def test_the_page_of_each_process_counts_what_all_have() -> None:
    async with scene() as of, member(of, table()) as one, member(of, table()) as two:
        await asyncio.sleep(SETTLED)
        await create(of, 24)
        await asyncio.sleep(3 * SETTLED)
        for cluster in ("east", "west"):
            own = [each.controller._clusters.members[cluster].executions for each in (one, two)]
            assert all(own)
            assert one.page(cluster)["executions"] == two.page(cluster)["executions"] == sum(own)
            assert one.page(cluster)["pods"] == two.page(cluster)["pods"] == len(await of.pods(cluster))
        assert one.page("east")["executions"] + one.page("west")["executions"] == 24


async def test_a_capacity_is_that_of_all_processes_together() -> None:
    async with scene() as of, member(of, table()) as one, member(of, table()) as two:
        await asyncio.sleep(SETTLED)
        await create(of, 24)
        await asyncio.sleep(3 * SETTLED)
        east = one.page("east")["executions"]
        for each in (one, two):
            assert each.controller._placing.states["east"].executions == east


def alone(cluster: str) -> Table:
    """A table with one cluster."""
    return parse_table(
        f"""
clusters: [{{name: {cluster}, connection: {{context: {cluster}}}}}]
pools: [{{name: one, clusters: [{cluster}]}}]
rules: [{{name: all, pool: one}}]
""".encode()
    )


async def test_a_cluster_that_is_added_or_removed_reaches_all_processes() -> None:
    async with scene() as of, member(of, alone("east")) as one, member(of, alone("east")) as two:
        both = (one, two)
        await asyncio.sleep(SETTLED)
        await create(of, 12)
        await asyncio.sleep(SETTLED)
        assert len(await of.pods("east")) == 12
        for each in both:
            assert not each.pods("west")
            each.controller.route_by(table(east="draining"))
        await asyncio.sleep(SETTLED)
        await succeed_all(of)
        await asyncio.sleep(SETTLED)
        assert len(await of.pods("west")) == 12
        assert all(each.pods("west") for each in both)
        for each in both:
            each.controller.route_by(alone("west"))
        await asyncio.sleep(SETTLED)
        assert not any(each.pods("east") for each in both)
        await succeed_all(of)
        await asyncio.sleep(SETTLED)
        assert await states(of) == {"Succeeded": 12}


async def test_a_shard_is_taken_though_a_cluster_does_not_answer_and_its_attempts_are_found_once_it_does() -> None:
    silent = Silent()
    async with scene(unhealthy_after=1.0, healthy_after=1.0, probe=0.5, probe_deadline=1.0) as of:
        async with member(of, table()):
            await asyncio.sleep(SETTLED)
            await create(of, 12)
            await asyncio.sleep(SETTLED)
        before = set(await of.pods("west"))
        assert before
        of.opener.interceptors["west"] = silent
        silent.silent = True
        async with member(of, table()) as two:
            await asyncio.sleep(SETTLED)
            assert len(two.membership.ready) == COUNT + 1
            assert len(two.keys) == 12
            await asyncio.sleep(40 * SETTLED)
            assert not two.page("west")["healthy"]
            await succeed_all(of)
            await asyncio.sleep(SETTLED)
            silent.silent = False
            await asyncio.sleep(30 * SETTLED)
            await succeed_all(of)
            await asyncio.sleep(SETTLED)
            assert await states(of) == {"Succeeded": 12}
            assert sum([len(await of.pods(cluster)) for cluster in of.users]) == 24


async def test_a_cluster_that_ceases_to_answer_while_a_shard_moves_delays_no_other() -> None:
    silent = Silent()
    async with scene(unhealthy_after=1.0, healthy_after=1.0, probe=0.5, probe_deadline=1.0) as of:
        of.opener.interceptors["west"] = silent
        async with member(of, table()) as one:
            await asyncio.sleep(SETTLED)
            await create(of, 12)
            await asyncio.sleep(SETTLED)
            silent.silent = True
            async with member(of, table()) as two:
                await asyncio.sleep(10 * SETTLED)
                assert len(one.membership.ready | two.membership.ready) == COUNT + 1
                silent.silent = False
                await asyncio.sleep(30 * SETTLED)
                for _ in NODES:
                    await succeed_all(of)
                    await asyncio.sleep(SETTLED)
                assert await states(of) == {"Succeeded": 12}
                assert sum([len(await of.pods(cluster)) for cluster in of.users]) == 24


async def test_what_is_left_of_a_deleted_workflow_is_collected_by_the_process_of_its_shard() -> None:
    async with scene(orphans_after=1.0) as of, member(of, table()) as one, member(of, table()) as two:
        await asyncio.sleep(SETTLED)
        await create(of, 12)
        await asyncio.sleep(SETTLED)
        expected = len(one.keys), len(two.keys)
        assert all(expected)
        for number in range(12):
            await of.user.delete(WORKFLOWS, f"w{number}", "ns")
        await asyncio.sleep(3 * SETTLED)
        assert [await of.pods(cluster) for cluster in of.users] == [{}, {}]
        assert tuple(each.controller._janitor.collected for each in (one, two)) == expected


async def test_of_processes_that_share_a_routing_table_one_writes_its_status_with_the_sums() -> None:
    async with scene() as of:
        await of.user.create(CUSTOM_RESOURCE_DEFINITIONS, routing_table_crd())
        spec = {
            "clusters": [{"name": name, "connection": {"context": name}} for name in ("east", "west")],
            "pools": [{"name": "both", "clusters": ["east", "west"]}],
            "rules": [{"name": "all", "pool": "both"}],
        }
        tables = ROUTING_TABLES.typed(Raw)
        await of.user.create(tables, {"metadata": {"name": "t"}, "spec": spec})
        routing = RoutingOptions(table="t", status_interval=1.0)
        settings = msgspec.structs.replace(of.settings, routing=routing)
        async with member(of, None, settings=settings) as one, member(of, None, settings=settings) as two:
            await asyncio.sleep(SETTLED)
            await create(of, 24)
            await asyncio.sleep(3 * SETTLED)
            assert one.keys
            assert two.keys
            assert [one.controller.several.peers.speaks, two.controller.several.peers.speaks].count(True) == 1
            before = await of.user.get(tables, "t")
            assert before["status"]["executions"] == 24
            assert sum(cluster["pods"] for cluster in before["status"]["clusters"]) == 24
            await asyncio.sleep(10 * SETTLED)
            assert await of.user.get(tables, "t") == before, "nothing changes, and is written"


def _peers(**members: Any) -> ClusterPeers:
    clusters = Clusters(None)  # type: ignore[arg-type]  # the control cluster is not asked
    for name, executions in members.items():
        clusters.members[name] = Member(name, 0.0)
        clusters.members[name].executions = executions
    return ClusterPeers(clusters, alone=False)


def test_notes_add_up_and_what_cannot_be_read_of_them_is_nothing() -> None:
    here, there = _peers(east=2, west=0), _peers(east=3, north=4)
    here.met(Peers(False, (there.note(), there.note(), "{", '{"east": {"executions": -1}}', "[]", '{"east": 1}')))
    assert here._clusters.members["east"].elsewhere == Elsewhere(executions=6)
    assert here._clusters.members["west"].elsewhere == Elsewhere()
    here.met(Peers(True, ()))
    assert here._clusters.members["east"].elsewhere == Elsewhere()
    assert here.speaks


def test_a_note_is_bounded_and_costs_nothing_without_a_table() -> None:
    assert _peers().note() == ""
    many = _peers(**{f"cluster-{number}": 10**6 for number in range(5 * MAX_CLUSTERS)})
    assert len(many.note()) < 32 * 1024
