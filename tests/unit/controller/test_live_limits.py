"""The limits in force of controllers that divide the workflows and share no store of tokens."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from propeller.clock import LoopClock
from propeller.config import Settings, WorkflowShardOptions
from propeller.controller._live_limits import LiveLimits
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid
from propeller.fairqueues import FAIR_QUEUES, RAW_FAIR_QUEUES, fair_queue_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client
from propeller.resourcemgr import Pool, ResourceOptions
from propeller.telemetry import Causes
from tests.unit.fairqueues.queues import pools

SHARDED = Settings(shards=WorkflowShardOptions(count=2))


def limits(client: Client, settings: Settings = SHARDED) -> LiveLimits:
    causes = Causes(logging.getLogger(__name__))
    return LiveLimits(client, settings, LoopClock(), lambda _: True, causes, namespace=None, recorder=None)


async def ready(client: Client, name: str) -> tuple[str, str]:
    (condition,) = (await client.get(RAW_FAIR_QUEUES, name))["status"]["conditions"]
    return condition["status"], condition["message"]


async def test_a_fairqueue_with_pools_is_refused_by_its_condition_and_keeps_no_controller_from_starting() -> None:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        client = Client(server.transport(), clock=LoopClock())
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, fair_queue_crd())
        await asyncio.sleep(1.0)
        await client.create(RAW_FAIR_QUEUES, {"metadata": {"name": "before"}, "spec": pools(hive=8)})
        weighted = {"tenants": [{"name": "ml", "weight": 3}]}
        await client.create(RAW_FAIR_QUEUES, {"metadata": {"name": "weights"}, "spec": weighted})
        live = limits(client)
        async with live.running():
            assert live.tokens is not None
            assert live.weight_of(("ml",)) == 3.0, "which no process has to count"
            await client.create(RAW_FAIR_QUEUES, {"metadata": {"name": "after"}, "spec": pools(spark=8)})
            await asyncio.sleep(3.0)
            for name, pool in (("before", "hive"), ("after", "spark")):
                status, message = await ready(client, name)
                assert status == "False"
                assert f"pool '{pool}'" in message
                assert "set redis.url" in message
            assert (await ready(client, "weights"))[0] == "True"
            await client.delete(FAIR_QUEUES, "weights")
            await asyncio.sleep(3.0)
            assert live.weight_of(("ml",)) == 1.0


async def test_pools_of_the_settings_are_refused_at_once() -> None:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        pool = ResourceOptions(pools=(Pool(name="hive", capacity=8),))
        settings = Settings(shards=WorkflowShardOptions(count=2), resources=pool)
        with pytest.raises(Invalid, match=r"Set redis\.url"):
            limits(Client(server.transport(), clock=LoopClock()), settings)
