"""Somebody who may patch pods, and writes nonsense into the annotation that says which attempt a pod is."""

from __future__ import annotations

import asyncio
import random

from propeller.errors import Conflict, NotFound
from propeller.kube import PODS, Client, Raw
from tests.simulation.event_log import EventLog
from tests.simulation.retries import retry_until_ok

_ATTEMPTS = ("300", "9" * 5000, "-1", "1e9", "NaN", "٣", "", "200", "1", "0")
_PODS = PODS.typed(Raw)


class Strangers:
    """At work in a quarter of all worlds, until `leave`."""

    def __init__(self, seed: int, client: Client, namespace: str, event_log: EventLog) -> None:
        self._rng = random.Random(f"strangers {seed}")
        self._client = client
        self._namespace = namespace
        self._event_log = event_log
        self._left = self._rng.random() > 1 / 4

    async def run(self) -> None:
        while not self._left:
            await asyncio.sleep(self._rng.expovariate(1 / 3))
            if not self._left:
                await self._patch_one()

    def leave(self) -> None:
        self._left = True

    async def _patch_one(self) -> None:
        pods = (await retry_until_ok(lambda: self._client.list(_PODS, self._namespace))).items
        if not pods:
            return
        name, attempt = self._rng.choice(pods)["metadata"]["name"], self._rng.choice(_ATTEMPTS)
        self._event_log.record(f"a stranger writes attempt {attempt[:9]!r} into pod {name}")
        body = {"metadata": {"annotations": {"propeller/attempt": attempt}}}
        try:
            await retry_until_ok(lambda: self._client.patch(_PODS, name, self._namespace, body=body))
        except (NotFound, Conflict):
            return
