"""A platform that refuses pods for a while: RBAC, a policy, a webhook that denies or is down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import orjson

from propeller.embedded.server import Forward, Interceptor
from propeller.kube import Request, Response
from tests.simulation.event_log import EventLog

_ANSWERS = (
    (403, "Forbidden", 'pods is forbidden: User "p" cannot create resource "pods"'),
    (403, "Forbidden", 'pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot'),
    (422, "Invalid", "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
    (400, "", 'admission webhook "a.b.c" denied the request: no'),
    (500, "InternalError", 'Internal error occurred: failed calling webhook "a.b.c": connection refused'),
)


class Denials:
    """Windows in which creates of pods are refused, in a third of all worlds."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._rng = random.Random(f"denials {seed}")
        self._event_log = event_log
        self._answer: Response | None = None
        self._healed = self._rng.random() > 1 / 3

    async def run(self) -> None:
        """Until `heal`."""
        while not self._healed:
            await asyncio.sleep(self._rng.expovariate(1 / 10))
            await self._refuse_for_a_while()

    def heal(self) -> None:
        self._healed, self._answer = True, None

    async def _refuse_for_a_while(self) -> None:
        if self._healed:
            return
        code, reason, message = self._rng.choice(_ANSWERS)
        body = {"kind": "Status", "code": code, "reason": reason, "message": message}
        self._event_log.record(f"pods are refused: {message}")
        self._answer = Response(status=code, body=orjson.dumps(body))
        await asyncio.sleep(self._rng.choice((1.0, 12.0, 60.0)))
        self._answer = None
        self._event_log.record("pods are allowed")

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Denied(self, interceptor)

    def answer(self, request: Request) -> Response | None:
        return self._answer if request.method == "POST" and request.path.endswith("/pods") else None


class _Denied:
    def __init__(self, denials: Denials, inner: Interceptor) -> None:
        self._denials = denials
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def admitted(passed: Request) -> Response:
            return self._denials.answer(passed) or await forward(passed)

        return await self._inner.exchange(request, admitted)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)
