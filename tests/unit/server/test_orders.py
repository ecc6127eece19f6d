"""Nothing follows the order of a set: what happens is the same in every process, whatever its hash seed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, NAMESPACES, PODS, RESOURCE_QUOTAS, Client, Raw
from propeller.testing import run_virtually
from tests.unit.server.asking import config_map, pod, send

ROOT = Path(__file__).parents[3]
PRINT = "from tests.unit.server.test_orders import story; from propeller.testing import run_virtually; "


async def story() -> str:
    """A digest of everything that a server reports while it collects, counts and wakes watchers."""
    told: list[str] = []
    async with ApiServer(clock=LoopClock(), randomness=random.Random(3)) as server:
        client = Client(server.transport(), clock=LoopClock())

        async def watch(number: int) -> None:
            events = client.watch(CONFIG_MAPS, resource_version="0", timeout_seconds=60)
            async for event in events:
                told.append(f"{number} {event.type} {event.object['metadata']}")

        watches = [asyncio.create_task(watch(number)) for number in range(7)]
        await asyncio.sleep(0.1)
        for name in ("one", "two"):
            await client.create(NAMESPACES, {"metadata": {"name": name}})
            for number in range(5):
                quota = {"metadata": {"name": f"q{number}"}, "spec": {"hard": {"pods": "9", "configmaps": "50"}}}
                await client.create(RESOURCE_QUOTAS, quota, name)
            await client.create(PODS, pod("p"), name)
            owner = await client.create(CONFIG_MAPS, config_map("owner"), name)
            for number in range(12):
                await client.create(CONFIG_MAPS, config_map(f"owned-{number}", owner=owner), name)
            status: Raw = {"status": {"phase": "Running", "message": "m", "reason": "r", "hostIP": "10.0.0.1"}}
            await client.patch(PODS, "p", name, body=status, subresource="status")
            await client.delete(CONFIG_MAPS, "owner", name, propagation="Background")
        await client.delete(NAMESPACES, "two")
        await asyncio.sleep(200)
        await asyncio.gather(*watches)
        paths = ("pods", "configmaps", "resourcequotas", "namespaces")
        told += [(await send(server, "GET", f"/api/v1/{path}")).body.decode() for path in paths]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_two_processes_with_other_hash_seeds_tell_the_same_story(seed: str) -> None:
    code = PRINT + "print(run_virtually(story()))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert ended.stdout.decode().strip() == run_virtually(story())


def test_neither_the_machines_clocks_nor_threads_have_a_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> float:
        raise AssertionError("a clock of the machine was read")

    expected = run_virtually(story())
    before = threading.active_count()
    for name in ("time", "time_ns", "monotonic", "sleep"):
        monkeypatch.setattr(time, name, forbidden)
    assert run_virtually(story()) == expected
    assert threading.active_count() == before
