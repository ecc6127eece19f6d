"""An API server under load: launches wait, those of the greediest tenant for longest; nothing else does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from propeller.config import ResourceOptions
from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from propeller.resourcemgr import Pool, Rule, Tenant
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

FLOOD = 300


class _Loaded:
    """An API server that has `seats` for creates of pods. To what is beyond it answers `code`, or (0) lets it wait."""

    def __init__(self, seats: int = 1_000, code: int = 429, *, after: str = "", took: float = 0.02) -> None:
        self.seats = seats
        self.code = code
        self.after = after
        self.took = took
        self.under_way = 0
        self.most = 0
        self.refused = 0
        self.created: list[str] = []
        self.slowest: Counter[str] = Counter()
        self._free = asyncio.Condition()

    async def exchange(self, request: Request, forward: Forward) -> Response:
        began = asyncio.get_running_loop().time()
        try:
            if request.method != "POST" or not request.path.endswith("/pods"):
                return await forward(request)
            return await self._create(request, forward)
        finally:
            took = asyncio.get_running_loop().time() - began
            self.slowest[request.method] = max(self.slowest[request.method], took)  # type: ignore[assignment]

    async def _create(self, request: Request, forward: Forward) -> Response:
        if self.code and self.under_way >= self.seats:
            self.refused += 1
            headers = {"retry-after": self.after} if self.after else {}
            body = {"kind": "Status", "code": self.code, "reason": "", "message": "too many requests"}
            return Response(status=self.code, headers=headers, body=orjson.dumps(body))
        async with self._free:
            await self._free.wait_for(lambda: self.under_way < self.seats)
            self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.took)
            self.created.append(orjson.loads(request.body)["metadata"]["name"])
            return await forward(request)
        finally:
            async with self._free:
                self.under_way -= 1
                self._free.notify_all()

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def _create(of: Bench, name: str, nodes: int = 1, project: str = "one") -> None:
    metadata = {"name": name, "labels": {"project": project, "domain": "production"}}
    spec = graph(*(task(f"n{number}") for number in range(nodes)))
    await of.user.create(WORKFLOWS, {"metadata": metadata, "spec": spec, "tasks": {"t": TASK}}, "ns")


async def _status(of: Bench, name: str) -> Any:
    return (await of.user.get(WORKFLOWS, name, "ns")).get("status", {})


LOADS = {
    "429 with a time": _Loaded(4, 429, after="1", took=0.1),
    "429 without a time": _Loaded(4, 429, took=0.1),
    "503": _Loaded(4, 503, took=0.1),
    "504": _Loaded(4, 504, took=0.1),
    "slow": _Loaded(1, 0, took=0.2),
}


@pytest.fixture(params=LOADS)
def link(request: pytest.FixtureRequest) -> _Loaded:
    load = LOADS[request.param]
    return _Loaded(load.seats, load.code, after=load.after, took=load.took)


async def test_observation_and_status_go_on_and_a_small_tenant_waits_for_few(link: _Loaded) -> None:
    async with bench() as of, of.controller(link):
        await _create(of, "before", project="small")
        await asyncio.sleep(2.0)
        for number in range(3):
            await _create(of, f"flood{number}", FLOOD, "many")
        await asyncio.sleep(10.0)
        begun = len(link.created)
        await of.report("before-n0-0", phase="Succeeded")
        await _create(of, "small", project="small")
        await asyncio.sleep(1.0)
        assert (await _status(of, "before"))["phase"] == 3
        await asyncio.sleep(60.0)
        assert "small-n0-0" in link.created
        ahead = link.created.index("small-n0-0") - begun
        assert ahead <= 2 * of.settings.client.writes_at_once
        for method in ("GET", "PATCH"):
            assert link.slowest[method] < 0.1


async def test_all_is_launched_once_in_the_end_and_little_is_refused(link: _Loaded) -> None:
    async with bench() as of, of.controller(link):
        for number in range(3):
            await _create(of, f"flood{number}", FLOOD, f"p{number}")
        for _ in range(100):
            await asyncio.sleep(10.0)
            if len(link.created) == 3 * FLOOD:
                break
        assert sorted(set(link.created)) == sorted(link.created)
        assert len(link.created) == 3 * FLOOD
        assert link.refused < 3 * FLOOD / 3


async def test_a_node_that_waits_says_why(link: _Loaded) -> None:
    async with bench() as of, of.controller(link):
        await _create(of, "w", FLOOD)
        await asyncio.sleep(8.0)
        reasons = [wait["reason"] for wait in (await _status(of, "w"))["waits"]]
        said = "it takes" if not link.code else f"it answers {link.code}"
        assert any(reason.startswith("waits for the API server: ") and said in reason for reason in reasons), reasons


async def test_a_server_that_is_relieved_has_all_launches_within_seconds() -> None:
    link = _Loaded(0, 429, after="1")
    async with bench() as of, of.controller(link):
        await _create(of, "w", FLOOD)
        await asyncio.sleep(20.0)
        assert not link.created
        assert link.refused <= 32 + 16 + 8 + 4 + 2 + 20
        link.seats = 1000
        await asyncio.sleep(20.0)
        assert len(link.created) == FLOOD


@pytest.mark.parametrize("pooled", [False, True])
async def test_of_tenants_that_wait_the_one_with_most_running_is_served_least(pooled: bool) -> None:
    link = _Loaded()
    resources = ResourceOptions(
        pools=(Pool(name="all", capacity=1000),) if pooled else (), rules=(Rule(pools={"all": 1}),) if pooled else ()
    )
    async with bench(resources=resources) as of, of.controller(link):
        await _create(of, "greedy", 100, "greedy")
        await asyncio.sleep(5.0)
        assert len(link.created) == 100
        link.seats, link.after, link.took = 0, "1", 1.0
        await _create(of, "more", 40, "greedy")
        await asyncio.sleep(5.0)
        await _create(of, "modest", 40, "modest")
        await asyncio.sleep(5.0)
        link.seats = 1
        link.created.clear()
        while len(link.created) < 20:
            await asyncio.sleep(1.0)
        modest = sum(name.startswith("modest-") for name in link.created)
        assert 14 <= modest <= 19, link.created


async def test_turns_follow_the_weights_of_tenants() -> None:
    link = _Loaded(0, after="1", took=0.5)
    resources = ResourceOptions(tenants=(Tenant(name="heavy", weight=3.0),))
    async with bench(resources=resources) as of, of.controller(link):
        await _create(of, "light", 100, "light")
        await _create(of, "heavy", 100, "heavy")
        await asyncio.sleep(10.0)
        link.seats = 1
        while len(link.created) < 60:
            await asyncio.sleep(1.0)
        heavy = sum(name.startswith("heavy-") for name in link.created)
        assert 40 <= heavy <= 50, link.created


async def test_tokens_stay_with_who_waits_for_the_server_and_come_back_if_it_is_over() -> None:
    link = _Loaded(0, after="1")
    resources = ResourceOptions(pools=(Pool(name="db", capacity=5),), rules=(Rule(pools={"db": 1}),))
    async with bench(resources=resources) as of, of.controller(link) as controller:
        assert controller._tokens is not None
        await _create(of, "w", 20)
        await asyncio.sleep(10.0)
        (pool,) = controller._tokens.report().pools
        assert (pool.held, pool.waiting) == (5, 15)
        link.seats = 1000
        await asyncio.sleep(10.0)
        assert len(link.created) == 5
        link.seats = 0
        for name in link.created[:3]:
            await of.report(name, phase="Succeeded")
        await asyncio.sleep(5.0)
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(120.0)
        (pool,) = controller._tokens.report().pools
        assert pool.waiting == 0
        assert pool.held == await _count_running(of)
        assert (controller._clusters.control.pressure.waiting, controller._clusters.control.pressure.under_way) == (
            0,
            0,
        )
        assert not controller._clusters.control.pressure._of_execution


async def _count_running(of: Bench) -> int:
    return sum("deletionTimestamp" not in pod["metadata"] for pod in (await of.pods()).values())


async def test_executions_that_end_while_they_wait_leave_nothing_behind() -> None:
    link = _Loaded(0, after="1")
    async with bench() as of, of.controller(link) as controller:
        for number in range(20):
            await _create(of, f"w{number}", 10)
        await asyncio.sleep(10.0)
        assert controller._clusters.control.pressure.waiting > 100
        for number in range(20):
            await of.user.delete(WORKFLOWS, f"w{number}", "ns")
        await asyncio.sleep(200.0)
        pressure = controller._clusters.control.pressure
        assert (pressure.waiting, pressure.under_way, pressure._slots, pressure._of_execution) == (0, 0, {}, {})


async def test_metrics_say_how_much_the_server_takes_why_and_what_waits() -> None:
    link = _Loaded(0, after="1")
    async with bench() as of, of.controller(link):
        assert of.measured("propeller_launch_limit", cluster="(own)") == of.settings.client.writes_at_once
        await _create(of, "w", FLOOD)
        await asyncio.sleep(10.0)
        assert of.measured("propeller_launch_limit") == 1
        assert of.measured("propeller_launches_held") > FLOOD / 2
        assert of.measured("propeller_launches_under_way") <= 1
        assert of.measured("propeller_launch_load_total", cause="429") == link.refused
        await asyncio.sleep(60.0)  # nothing of the namespace passed
        assert of.measured("propeller_launches_waiting", namespace="ns", limit="refusals") > 0
