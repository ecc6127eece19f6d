"""Controllers that divide the workflows of a cluster among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest import mock

import msgspec
import pytest

from propeller.config import RedisOptions, Settings, WorkflowShardOptions
from propeller.controller import WorkflowController, _live_limits
from propeller.errors import Invalid
from propeller.kube import NAMESPACES, Client
from propeller.reconcile import ElectionOptions
from propeller.resourcemgr import Pool, ResourceOptions
from propeller.resourcemgr.shared import backend_of
from propeller.workflow import SHARD_LABEL, shard_key
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.controller.sharded import COUNT, Sharded, joined
from tests.unit.workflow.drive import TASK, graph, task


@asynccontextmanager
async def member(b: Bench) -> AsyncIterator[Sharded]:
    client = Client(b.server.transport(), b.settings.client, clock=b.clock)
    made = WorkflowController(client, b.storage, b.settings, clock=b.clock, metrics=b.metrics)
    async with joined(made, client, b.settings, b.clock) as membership:
        yield Sharded(made, membership)


@asynccontextmanager
async def scene() -> AsyncIterator[Bench]:
    async with bench() as plain:
        settings = msgspec.structs.replace(plain.settings, shards=WorkflowShardOptions(count=COUNT))
        await plain.user.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        yield replace(plain, settings=settings)


async def create(b: Bench, name: str, *nodes: str, labelled: bool = True, **own: Any) -> None:
    """A workflow whose tasks run one after the other."""
    labels = {SHARD_LABEL: shard_key(name)} if labelled else {}
    spec = graph(*map(task, nodes), edges=list(pairwise(nodes)))
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "tasks": {"t": {key: value for key, value in (TASK | own).items() if value}},
    }
    await b.user.create(WORKFLOWS, body, "ns")


async def phases(b: Bench) -> dict[str, int]:
    items = (await b.user.list(WORKFLOWS, "ns")).items
    return {item["metadata"]["name"]: item.get("status", {}).get("phase", 0) for item in items}


async def end_pods(b: Bench) -> None:
    for pod in (await b.user.list(RAW_PODS, "ns")).items:
        if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}:
            await b.report(pod["metadata"]["name"], phase="Succeeded")


async def test_each_workflow_runs_in_one_process_also_those_without_a_label() -> None:
    async with scene() as b, member(b) as one, member(b) as two:
        await asyncio.sleep(1)
        for number in range(12):
            await create(b, f"w{number}", "a", labelled=number % 4 != 0)
        await asyncio.sleep(1)
        assert one.keys | two.keys == {f"ns/w{number}" for number in range(12)}
        assert not one.keys & two.keys
        assert one.keys
        assert two.keys
        assert len((await b.user.list(RAW_PODS, "ns")).items) == 12
        assert len(one.pods("") | two.pods("")) == 12
        assert not one.pods("") & two.pods("")
        await end_pods(b)
        await asyncio.sleep(3)
        assert set((await phases(b)).values()) == {3}


async def test_what_runs_goes_on_where_its_shard_goes() -> None:
    async with scene() as b, AsyncExitStack() as stack:
        async with member(b) as one:
            await asyncio.sleep(0.5)
            for number in range(12):
                await create(b, f"w{number}", "a", "b", labelled=number % 4 != 0)
            await asyncio.sleep(0.2)
            two = await stack.enter_async_context(member(b))
            await asyncio.sleep(3)
            assert two.keys
            assert not one.keys & two.keys
            await end_pods(b)
            await asyncio.sleep(1)
            assert len(await b.pods()) == 24
        await asyncio.sleep(1)
        assert len(two.keys) == 12
        await end_pods(b)
        await asyncio.sleep(3)
        assert set((await phases(b)).values()) == {3}
        assert len(await b.pods()) == 24


async def test_before_a_shard_is_given_up_its_progress_is_written() -> None:
    async with scene() as b:
        settings = msgspec.structs.replace(
            b.settings, checkpoint=msgspec.structs.replace(b.settings.checkpoint, max_lag=1000.0)
        )
        b = replace(b, settings=settings)
        async with member(b):
            await asyncio.sleep(0.5)
            await create(b, "w", "a", "b")
            await asyncio.sleep(0.5)
            await end_pods(b)
            await asyncio.sleep(0.5)
            assert not (await b.status()).get("counts")
        assert (await b.status())["counts"]["succeeded"] == 1


async def test_pods_of_a_workflow_are_in_its_shard_whatever_its_task_is_labelled_as() -> None:
    async with scene() as b, member(b):
        await asyncio.sleep(0.5)
        metadata = {"labels": {SHARD_LABEL: "7", "of-the-task": "yes"}}
        pod_of_task = {"metadata": metadata, "podSpec": {"containers": [{"name": "main", "image": "i"}]}}
        of_task = {"container": None, "k8sPod": pod_of_task, "config": {"primary_container_name": "main"}}
        await create(b, "w", "a", labelled=False, **of_task)
        await asyncio.sleep(0.5)
        (pod,) = (await b.user.list(RAW_PODS, "ns")).items
        assert SHARD_LABEL not in pod["metadata"]["labels"]
        assert pod["metadata"]["labels"]["of-the-task"] == "yes"


def _controller(b: Bench, settings: Settings) -> WorkflowController:
    return WorkflowController(Client(b.server.transport()), b.storage, settings, clock=b.clock)


async def test_pools_in_the_memory_of_each_process_are_refused_with_the_mend() -> None:
    async with scene() as b:
        pools = ResourceOptions(pools=(Pool(name="p", capacity=1),))
        settings = msgspec.structs.replace(b.settings, resources=pools)
        with pytest.raises(Invalid, match=r"Set redis\.url"):
            _controller(b, settings)
        shared = msgspec.structs.replace(settings, redis=RedisOptions(url="redis://127.0.0.1:1/0"))
        assert _controller(b, shared).shards is not None


async def test_tokens_of_a_dead_process_stay_out_until_another_one_can_have_its_shards() -> None:
    async with scene() as b:
        store = RedisOptions(url="redis://127.0.0.1:1/0")
        settings = msgspec.structs.replace(
            b.settings, resources=ResourceOptions(pools=(Pool(name="p", capacity=1),)), redis=store
        )
        assert _ttl(b, settings) == 2 * settings.election.duration
        slow = msgspec.structs.replace(settings, election=ElectionOptions(duration=60))
        assert _ttl(b, slow) == 120.0
        given = msgspec.structs.replace(slow, redis=RedisOptions(url=store.url, ttl=119.0))
        with pytest.raises(Invalid, match=r"redis\.ttl is 119, and election\.duration 60: .* at least 120, or to 0"):
            _controller(b, given)
        undivided = msgspec.structs.replace(given, shards=WorkflowShardOptions())
        assert _ttl(b, undivided) == 119.0


def _ttl(b: Bench, settings: Settings) -> float:
    """That the controllers' store of tokens has."""
    with mock.patch.object(_live_limits, "backend_of", side_effect=backend_of) as made:
        _controller(b, settings)
    (options,) = made.call_args.args
    return float(options.ttl)


async def test_without_shards_nothing_is_divided() -> None:
    async with bench() as b:
        assert _controller(b, b.settings).shards is None
