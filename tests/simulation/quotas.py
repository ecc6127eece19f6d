"""A ResourceQuota of the world's namespace, which somebody raises, lowers, deletes and creates again."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from propeller.embedded.server import Forward, Interceptor
from propeller.errors import NotFound, Unavailable
from propeller.kube import RESOURCE_QUOTAS, Client, Request, Response
from tests.simulation.event_log import EventLog

MAX_REFUSALS = 40
"""In a minute. Each of up to 64 creates under way may meet a quota that was lowered, or that a watch shows late."""

NAME = "pods"


class Quotas:
    """In some worlds the namespace has a quota of pods. At the end it is small, and all has to end nevertheless."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._rng = random.Random(f"namespace's quota {seed}")
        self.used = self._rng.random() < 0.05
        self._event_log = event_log
        self._healed = False
        self._refused: deque[float] = deque()

    async def run(self, client: Client, namespace: str) -> None:
        """Until `heal`."""
        while self.used and not self._healed:
            await asyncio.sleep(self._rng.expovariate(1 / 15))
            most = self._rng.choice((None, 0, 1, 1, 2, 5))
            if not self._healed:
                await self._limit(client, namespace, most)

    async def heal(self, client: Client, namespace: str) -> None:
        self._healed = True
        if self.used:
            await self._limit(client, namespace, 1)

    async def _limit(self, client: Client, namespace: str, most: int | None) -> None:
        while True:
            with suppress(Unavailable):  # the server is being restored
                await self._write(client, namespace, most)
                self._event_log.record(f"the quota of pods is {most}")
                return
            await asyncio.sleep(1.0)

    async def _write(self, client: Client, namespace: str, most: int | None) -> None:
        if most is None:
            with suppress(NotFound):  # it was deleted before
                await client.delete(RESOURCE_QUOTAS, NAME, namespace)
            return
        spec = {"hard": {"pods": str(most)}}
        try:
            await client.patch(RESOURCE_QUOTAS, NAME, namespace, body={"spec": spec})
        except NotFound:
            await client.create(RESOURCE_QUOTAS, {"metadata": {"name": NAME}, "spec": spec}, namespace)

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Counted(self, interceptor) if self.used else interceptor

    def answered(self, request: Request, response: Response) -> None:
        """Count what the quota refuses."""
        if request.method != "POST" or not request.path.endswith("/pods") or b"exceeded quota" not in response.body:
            return
        now = self._event_log.time()
        self._refused.append(now)
        while self._refused[0] < now - 60.0:
            self._refused.popleft()
        if len(self._refused) > MAX_REFUSALS:
            self._event_log.violation(f"the quota has refused {len(self._refused)} pods in a minute")


class _Counted:
    def __init__(self, quotas: Quotas, inner: Interceptor) -> None:
        self._quotas = quotas
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def counted(passed: Request) -> Response:
            response = await forward(passed)
            self._quotas.answered(passed, response)
            return response

        return await self._inner.exchange(request, counted)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)
