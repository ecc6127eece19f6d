"""One page of what several processes show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from propeller.cli._front import Front, summed
from propeller.cli._front_pages import merged_queue
from propeller.cli._queue import _through_proxy
from propeller.cli._queue_text import queue_text
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, Unavailable
from propeller.kube import NAMESPACES, Client
from propeller.reconcile.shards import Membership
from propeller.telemetry import Metrics, serve_metrics
from tests.unit.cli.test_queue import PAGE


def page(*claims: tuple[str, int], quotas: Mapping[str, int] = {}, rate: float | None = 1.0) -> dict[str, Any]:
    """A process's: claims by resource and position."""
    template = PAGE["claims"][0]
    hive, api = PAGE["pools"]
    return PAGE | {
        "pools": [hive | {"grantsPerSecond": rate}, api],
        "claims": [template | {"resource": name, "position": position} for name, position in claims],
        "quotas": [{"namespace": name, "waiting": count} for name, count in quotas.items()],
        "controllers": 3,
    }


def test_claims_and_quotas_of_all_are_on_it_and_what_is_counted_for_all_is_counted_once() -> None:
    found = merged_queue([page(("a", 3), quotas={"x": 1, "y": 5}), page(("b", 1), ("c", 7), quotas={"x": 6})], 2)
    assert [claim["resource"] for claim in found["claims"]] == ["b", "a"]
    assert found["waiting"] == 1204
    assert found["notShown"] == 1202
    assert [pool["grantsPerSecond"] for pool in found["pools"]] == [2.0, None]
    assert found["pools"][0]["held"] == 80
    assert found["quotas"] == [{"namespace": "x", "waiting": 7}, {"namespace": "y", "waiting": 5}]
    assert queue_text(found).splitlines()[-1].startswith("and 1202 more that wait, here or in 1 other controller: ")


def test_a_page_that_is_merged_already_can_be_merged_again() -> None:
    once = merged_queue([page(("a", 1)), page(("b", 2))], 20)
    assert merged_queue([once, page(("c", 3))], 20)["asked"] == 3


@asynccontextmanager
async def front(*pages: Any) -> AsyncIterator[Front]:
    """A front of processes that serve these; what is an error is raised."""

    def serve(what: Any) -> Any:
        def answer(query: Mapping[str, str]) -> bytes:
            if isinstance(what, Exception):
                raise what
            return orjson.dumps(what)

        return {"/queue": answer, "/clusters": answer}

    async with AsyncExitStack() as stack:
        made = Front(await stack.enter_async_context(aiohttp.ClientSession()))
        for number, one in enumerate(pages, 1):
            made.ports[number] = await stack.enter_async_context(serve_metrics(Metrics(), pages=serve(one)))
        yield made


async def test_the_one_port_of_several_processes_shows_the_queue_of_all_that_answer() -> None:
    async with front(Unavailable("a standby"), page(("a", 1)), page(("b", 2))) as made:
        found = orjson.loads(await made.queue({"first": "1"}))
        assert [claim["resource"] for claim in found["claims"]] == ["a"]
        assert found["asked"] == 2


async def test_if_no_process_has_a_page_it_is_said_why() -> None:
    async with front(Invalid("'nope' is no pool"), Invalid("'nope' is no pool")) as made:
        with pytest.raises(Invalid, match="is no pool"):
            await made.queue({"pool": "nope"})
    async with front(Unavailable("this process does not run workflows now")) as made:
        with pytest.raises(Unavailable, match="does not run workflows now"):
            await made.clusters({})
    async with front() as made:
        with pytest.raises(Unavailable, match="no process runs"):
            await made.queue({})


async def test_clusters_are_those_of_a_process_as_each_counts_for_all() -> None:
    async with front(Unavailable("not yet"), [{"name": "east"}], [{"name": "east"}]) as made:
        assert orjson.loads(await made.clusters({})) == [{"name": "east"}]


def scraped(*, healthy: float, executions: float, refused: bool) -> str:
    """What a process counts of a cluster that is connected."""
    metrics = Metrics()
    nothing: Any = list
    metrics.clusters.watch(
        connected=lambda: [(("east",), 1.0)],
        healthy=lambda: [(("east",), healthy)],
        executions=lambda: [(("east",), executions)],
        pods=nothing,
        lost=nothing,
        orphans=nothing,
    )
    metrics.clusters.watch_table(lambda: refused)
    return metrics.text().decode()


def test_a_cluster_is_well_if_it_is_to_every_process() -> None:
    one = scraped(healthy=1.0, executions=3.0, refused=True)
    another = scraped(healthy=0.0, executions=4.0, refused=False)
    text = summed([one, another]).decode()
    assert 'propeller_cluster_connected{cluster="east"} 1.0' in text
    assert 'propeller_cluster_healthy{cluster="east"} 0.0' in text
    assert 'propeller_cluster_executions{cluster="east"} 7.0' in text
    assert "propeller_routing_table_refused 1.0" in text


class _Works:
    """Works on shards, without any work."""

    async def take(self, shard: int) -> None: ...

    async def give_up(self, shards: Any) -> None: ...

    def loads(self) -> dict[int, float]:
        return {}


async def test_the_command_asks_each_pod_of_those_that_divide_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def proxied(pod: str, *_: Any, **__: Any) -> bytes:
        asked.append(pod)
        return orjson.dumps(page((f"of-{pod}", 1)))

    async with ApiServer() as server, AsyncExitStack() as stack:
        client = Client(server.transport())
        await client.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        for identity in ("pod-a_1", "pod-a_2", "pod-b"):
            of_member = Membership(client, "flyte", "leader-shards", 3, _Works(), identity=identity)
            await stack.enter_async_context(of_member.joined())
        await asyncio.sleep(0.1)
        monkeypatch.setattr(client, "proxied", proxied)
        found = orjson.loads(await _through_proxy(client, "flyte", "leader", 10254, {"first": "20"}))
        assert sorted(asked) == ["pod-a", "pod-b"]
        assert [claim["resource"] for claim in found["claims"]] == ["of-pod-a", "of-pod-b"]
