"""Tenants take turns at all that the controller does: intake, launches, status writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

FLOOD = 500
IN_FLIGHT = 64
"""Creates that are under way when the small tenant's workflow comes: controller.effects_at_once."""


class _SlowServer:
    """Takes its time for creates of pods, and keeps their order."""

    def __init__(self) -> None:
        self.creates: list[str] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and request.path.endswith("/pods"):
            self.creates.append(request.body.decode().partition('"name":"')[2].partition('"')[0])
            await asyncio.sleep(0.5)
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def _create(of: Bench, name: str, project: str, nodes: int = 1) -> None:
    metadata = {"name": name, "labels": {"project": project, "domain": "production"}}
    spec = graph(*(task(f"n{number}") for number in range(nodes)))
    await of.user.create(WORKFLOWS, {"metadata": metadata, "spec": spec, "tasks": {"t": TASK}}, "ns")


async def test_a_tenant_with_a_single_workflow_does_not_wait_behind_the_hundreds_of_another() -> None:
    link = _SlowServer()
    async with bench() as of, of.controller(link):
        for number in range(FLOOD):
            await _create(of, f"flood{number}", "many")
        await _create(of, "small", "one")
        await asyncio.sleep(60.0)
        assert link.creates.index("small-n0-0") <= IN_FLIGHT + 2
        assert len(link.creates) == FLOOD + 1


async def test_nor_behind_a_workflow_of_hundreds_of_nodes_of_another() -> None:
    link = _SlowServer()
    async with bench() as of, of.controller(link):
        for number in range(3):
            await _create(of, f"flood{number}", "many", FLOOD)
        await asyncio.sleep(1.0)
        begun = len(link.creates)
        await _create(of, "small", "one")
        await asyncio.sleep(60.0)
        assert link.creates.index("small-n0-0") <= begun + IN_FLIGHT + 2


async def test_the_depth_of_the_queue_is_shown_by_tenant() -> None:
    async with bench() as of, of.controller(_SlowServer()) as controller:
        await _create(of, "w", "ml")
        await asyncio.sleep(5.0)
        controller._queue.add("ns/w")
        assert controller._queue.depths() == {"ml/production": 1}
