"""An API server under load: for a while it has room for few creates of pods, or for none, and answers the rest with
429, 503 or 504, or late. Whatever else is asked of it is answered as always.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator

import orjson

from propeller.embedded.server import Forward, Interceptor
from propeller.kube import Request, Response
from tests.simulation.event_log import EventLog

WINDOW = 20.0

MAX_REFUSALS = 80
"""Within `WINDOW` seconds of load: the limit is halved from 32, and a slot whose create was refused rests for a second.
Another controller may take over in between, and begins as the first one did.
"""

_REASONS = {429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout"}


class Pressure:
    """In some worlds the server is under load now and then."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._rng = random.Random(f"load {seed}")
        self.used = self._rng.random() < 0.06
        self._event_log = event_log
        self._healed = False
        self._code = 0
        self._seats = 0
        self._under_way = 0
        self._refused: deque[float] = deque()

    async def run(self) -> None:
        """Until `heal`."""
        while self.used and not self._healed:
            await asyncio.sleep(self._rng.expovariate(1 / 10))
            if not self._healed:
                await self._load()

    def heal(self) -> None:
        self._healed, self._code = True, 0

    async def _load(self) -> None:
        self._code, self._seats = self._rng.choice((*_REASONS, 200)), self._rng.choice((0, 1, 2))
        self._event_log.record(f"the API server is under load: {self._code} beyond {self._seats} creates")
        await asyncio.sleep(self._rng.choice((2.0, 15.0, 90.0)))
        self._code = 0
        self._event_log.record("the API server is not under load")

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Loaded(self, interceptor) if self.used else interceptor

    async def create(self, request: Request, forward: Forward) -> Response:
        self._under_way += 1
        try:
            return await self._create(request, forward)
        finally:
            self._under_way -= 1

    async def _create(self, request: Request, forward: Forward) -> Response:
        code = self._code
        if not code or self._under_way <= self._seats:
            return await forward(request)
        if code == 200:
            await asyncio.sleep(self._rng.uniform(1.0, 8.0))
            return await forward(request)
        self._count()
        headers = {"content-type": "application/json"}
        if code == 429 and self._rng.random() < 0.5:
            headers["retry-after"] = str(self._rng.choice((1, 2)))
        body = {"kind": "Status", "code": code, "reason": _REASONS[code], "message": "too many requests"}
        return Response(status=code, headers=headers, body=orjson.dumps(body))

    def _count(self) -> None:
        now = self._event_log.time()
        self._refused.append(now)
        while self._refused[0] < now - WINDOW:
            self._refused.popleft()
        if len(self._refused) > MAX_REFUSALS:
            self._event_log.violation(f"{len(self._refused)} creates were sent to a server that has no room for them")


class _Loaded:
    def __init__(self, pressure: Pressure, inner: Interceptor) -> None:
        self._pressure = pressure
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method != "POST" or not request.path.endswith("/pods"):
            return await self._inner.exchange(request, forward)

        async def loaded(passed: Request) -> Response:
            return await self._pressure.create(passed, forward)

        return await self._inner.exchange(request, loaded)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)
