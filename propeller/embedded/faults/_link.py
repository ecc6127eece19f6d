"""Faults of requests between a client and the embedded API server.

Guarantees
    All faults are drawn from the given random numbers: the same draws give the same faults. A partitioned link lets
    nothing through in either direction. If the server has handled a request, its effect stays: only the response can be
    lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson

from propeller.embedded.faults._profile import NO_FAULTS, FaultProfile
from propeller.errors import Unavailable
from propeller.kube import Request, Response

Forward = Callable[[Request], Awaitable[Response]]

_REFUSALS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 504: "Timeout"}

_PARTITION_LOOK = 0.5
"""Seconds between two looks of a stream whether a partition has begun."""


class FaultyLink:
    """An interceptor; `profile` and `partitioned` may be changed at any time."""

    def __init__(self, rng: random.Random, profile: FaultProfile = NO_FAULTS) -> None:
        self._rng = rng
        self.profile = profile
        self.partitioned = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        profile, rng = self.profile, self._rng
        await self._travel(profile, request)
        draw = rng.random()
        if (draw := draw - profile.lost_requests) < 0:
            raise _broken(request)
        if (draw := draw - profile.refusals) < 0:
            return await self._refuse(request, forward)
        response = await forward(request)
        if (draw := draw - profile.hangs) < 0:
            await asyncio.sleep(rng.choice((20.0, 60.0, 1e6)))
        if draw - profile.lost_responses < 0 and not _is_watch(request):
            raise _broken(request)
        await self._travel(profile, request)
        return response

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            profile, draw = self.profile, self._rng.random()
            if self.partitioned or draw < profile.black_holes:
                await asyncio.sleep(1e6)
            if draw - profile.black_holes < profile.disconnects:
                raise _broken(request)
            if lag := profile.pause(self._rng, profile.lag):
                await asyncio.sleep(lag)
            yield chunk

    async def _travel(self, profile: FaultProfile, request: Request) -> None:
        if self.partitioned:
            await asyncio.sleep(_PARTITION_LOOK)
            raise _broken(request)
        if pause := profile.pause(self._rng, profile.latency / 2):
            await asyncio.sleep(pause)
            if self.partitioned:
                raise _broken(request)

    async def _refuse(self, request: Request, forward: Forward) -> Response:
        codes = [429, 500, 504]
        if request.method in {"PATCH", "PUT"}:
            codes.append(409)
        code = self._rng.choice(codes)
        if code in {500, 504} and not _is_watch(request) and self._rng.random() < 0.5:
            await forward(request)
        return _status(code, after=self._rng.choice((0, 1, 3)) if code == 429 else 0)


def _is_watch(request: Request) -> bool:
    return "watch" in request.query


def _broken(request: Request) -> Unavailable:
    return Unavailable(f"the connection broke during {request.method} {request.path}")


def _status(code: int, after: int) -> Response:
    headers = {"content-type": "application/json"} | ({"retry-after": str(after)} if after else {})
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"a fault: {_REFUSALS[code]}",
        "reason": _REFUSALS[code],
        "code": code,
    }
    return Response(status=code, headers=headers, body=orjson.dumps(body))
