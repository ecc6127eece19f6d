"""Two controllers, each of one namespace, that share a pool in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from propeller.config import ResourceOptions
from propeller.kube import NAMESPACES
from propeller.resourcemgr import Pool, Rule
from propeller.testing import RedisServer, eventually
from tests.integration.redis.stores import options_of, prime
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

pytestmark = pytest.mark.needs("redis-server")

CAPACITY, TASKS = 3, 8
THREE = ResourceOptions(pools=(Pool(name="db", capacity=CAPACITY),), rules=(Rule(pools={"db": 1}),))


@asynccontextmanager
async def _of_two_namespaces(redis: RedisServer) -> AsyncIterator[Bench]:
    options = options_of(redis, ttl=3.0, timeout=1.0)
    await prime(options)
    async with bench(resources=THREE, redis=options) as of:
        await of.user.create(NAMESPACES, {"metadata": {"name": "other"}})
        yield of


async def _create(of: Bench, namespace: str) -> None:
    nodes = [task(f"n{number}") for number in range(TASKS)]
    resource = {"metadata": {"name": "w"}, "spec": graph(*nodes), "tasks": {"t": TASK}}
    await of.user.create(WORKFLOWS, resource, namespace)


async def _running(of: Bench) -> dict[str, list[str]]:
    """Names of pods that have not ended, by namespace."""
    found: dict[str, list[str]] = {"ns": [], "other": []}
    for namespace, names in found.items():
        for pod in (await of.user.list(RAW_PODS, namespace)).items:
            if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                names.append(pod["metadata"]["name"])
    assert sum(map(len, found.values())) <= CAPACITY, found
    return found


async def _end(of: Bench, namespace: str, pod: str) -> None:
    status = {"phase": "Succeeded", "containerStatuses": []}
    await of.user.patch(RAW_PODS, pod, namespace, body={"status": status}, subresource="status")


async def _has_succeeded(of: Bench, namespace: str) -> bool:
    status = (await of.user.get(WORKFLOWS, "w", namespace)).get("status", {})
    return bool(status.get("state") == "Succeeded")


async def test_two_controllers_never_run_more_pods_than_their_pool_has_tokens(redis: RedisServer) -> None:
    async with _of_two_namespaces(redis) as of, of.controller(namespace="ns"), of.controller(namespace="other"):
        for namespace in ("ns", "other"):
            await _create(of, namespace)
        beside = 0
        for _ in range(2 * TASKS):

            async def is_busy() -> dict[str, list[str]]:
                running = await _running(of)
                assert any(running.values())
                return running

            running = await eventually(is_busy)
            beside += all(running.values())
            namespace = max(running, key=lambda name: len(running[name]))
            await _end(of, namespace, running[namespace][0])
        await eventually(lambda: _has_succeeded(of, "ns"))
        await eventually(lambda: _has_succeeded(of, "other"))
        assert beside > 2, "both had some of the pool at once"


async def test_what_runs_when_a_controller_starts_again_is_counted_before_it_or_others_launch(
    redis: RedisServer,
) -> None:
    async with _of_two_namespaces(redis) as of, AsyncExitStack() as second:
        async with of.controller(namespace="ns"):
            await _create(of, "ns")

            async def is_full() -> bool:
                return len((await _running(of))["ns"]) == CAPACITY

            await eventually(is_full)
        await second.enter_async_context(of.controller(namespace="other"))
        await _create(of, "other")
        async with of.controller(namespace="ns"):
            pods = (await _running(of))["ns"]
            for _ in range(20):
                assert (await _running(of))["other"] == []
            await _end(of, "ns", pods[0])

            async def others_turn() -> bool:
                return bool((await _running(of))["other"])

            await eventually(others_turn)
