"""Limits that only refusals tell: a namespace whose creates are refused is asked for rarely, and fills up at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from propeller.embedded.server import Forward
from propeller.kube import NAMESPACES, Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

REFUSALS = {
    "a quota that may not be read": (403, "Forbidden", 'pods "p" is forbidden: exceeded quota: q, requested: pods=1'),
    "a webhook": (403, "", 'admission webhook "a.b.c" denied the request: too many pods'),
    "too many requests": (429, "TooManyRequests", "too many requests"),
}


class _Limited:
    """A webhook that allows `most` pods at once in namespace ns."""

    def __init__(self, most: int, answer: tuple[int, str, str]) -> None:
        self.most = most
        self.running = 0
        self.refused: list[float] = []
        self.body = orjson.dumps(dict(zip(("code", "reason", "message"), answer, strict=True)) | {"kind": "Status"})
        self.code = answer[0]

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method != "POST" or not request.path.endswith("/namespaces/ns/pods"):
            return await forward(request)
        if self.running >= self.most:
            self.refused.append(asyncio.get_running_loop().time())
            return Response(status=self.code, body=self.body)
        self.running += 1
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def _flood(of: Bench, executions: int, nodes: int, namespace: str = "ns") -> None:
    for number in range(executions):
        body = {
            "metadata": {"name": f"w{number}"},
            "spec": graph(*[task(f"n{node}") for node in range(nodes)]),
            "tasks": {"t": TASK},
        }
        await of.user.create(WORKFLOWS, body, namespace)


async def _running(of: Bench, namespace: str = "ns") -> list[str]:
    pods = (await of.user.list(RAW_PODS, namespace)).items
    return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") != "Succeeded"]


@pytest.mark.parametrize("cause", REFUSALS)
async def test_at_a_full_limit_a_create_a_minute_is_refused_however_many_wait(cause: str) -> None:
    link = _Limited(10, REFUSALS[cause])
    async with bench() as of, of.controller(link):
        await _flood(of, 10, 100)
        await asyncio.sleep(1200.0)
        before = len(link.refused)
        await asyncio.sleep(1800.0)
        assert 5 <= len(link.refused) - before <= 30
        assert len(await _running(of)) == 10


@pytest.mark.parametrize("cause", REFUSALS)
async def test_what_ends_is_replaced_at_once_without_more_refusals(cause: str) -> None:
    link = _Limited(10, REFUSALS[cause])
    async with bench() as of, of.controller(link):
        await _flood(of, 10, 20)
        await asyncio.sleep(1200.0)
        before = len(link.refused)
        for _ in range(30):
            link.running -= 1
            await of.report((await _running(of))[0], phase="Succeeded")
            await asyncio.sleep(2.0)
            assert len(await _running(of)) == 10
        assert len(link.refused) - before <= 3, link.refused[before:]


@pytest.mark.parametrize("cause", REFUSALS)
async def test_a_limit_that_is_lifted_is_found_within_its_pause_and_then_filled_fast(cause: str) -> None:
    link = _Limited(10, REFUSALS[cause])
    async with bench() as of, of.controller(link):
        await _flood(of, 10, 20)
        await asyncio.sleep(600.0)
        link.most = 1000
        await asyncio.sleep(200.0)
        assert len(await _running(of)) == 200


async def test_another_namespace_is_not_slowed_down() -> None:
    link = _Limited(1, REFUSALS["too many requests"])
    async with bench() as of, of.controller(link):
        await of.user.create(NAMESPACES, {"metadata": {"name": "other"}})
        await _flood(of, 5, 20)
        await asyncio.sleep(100.0)
        await _flood(of, 1, 20, "other")
        await asyncio.sleep(30.0)
        assert len(await _running(of, "other")) == 20
