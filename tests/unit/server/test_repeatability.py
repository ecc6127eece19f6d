"""Simulation stands on it: one seed, one history."""

from __future__ import annotations

import asyncio
import random

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, PODS, Client
from propeller.testing import run_virtually
from tests.unit.server.asking import pod, send, watching


async def history(seed: int) -> tuple[bytes, list[object]]:
    """The objects and events of a server after many tasks wrote to it."""
    async with ApiServer(clock=LoopClock(), randomness=random.Random(seed)) as server:
        client = Client(server.transport())
        async with watching(client, PODS, resource_version="0", timeout_seconds=60) as seen:

            async def work(number: int) -> None:
                owner = await client.create(CONFIG_MAPS, {"metadata": {"generateName": "owner-"}}, "default")
                await asyncio.sleep(number % 3)
                metadata = owner["metadata"]
                reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]}
                await client.create(PODS, pod(f"p{number}", ownerReferences=[reference]), "default")
                if number % 2:
                    await client.delete(CONFIG_MAPS, metadata["name"], "default")

            await asyncio.gather(*(work(number) for number in range(20)))
            await asyncio.sleep(100)
        answer = await send(server, "GET", "/api/v1/pods")
        return answer.body, [(event.type, event.object.metadata) for event in seen]


def test_the_same_seed_gives_the_same_history_uids_and_names_included() -> None:
    assert run_virtually(history(1)) == run_virtually(history(1))


def test_another_seed_gives_other_uids() -> None:
    assert run_virtually(history(1))[0] != run_virtually(history(2))[0]
