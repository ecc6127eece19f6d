"""An adaptive limit of a flow's concurrent requests.

Guarantees
    At most `maximum` at once, and never fewer than one. Slots are given in the order in which they were asked for.
    A 429 halves the limit, once for all requests in flight, and its slot stays reserved until Retry-After has passed,
    with jitter: if the server rejects all, all pause; if it rejects one of ten, nine go on. The limit grows back by
    one, at most once a second, with successes. Additive increase and multiplicative decrease make the shares of many
    such clients fair, and use the server fully (Chiu and Jain, 1989; TCP's congestion avoidance, Jacobson, 1988).
    Growth is by time and not by request: one too many costs a second, kube-apiserver's Retry-After.
Errors
    Throttled, if no slot comes free in time.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict

from propeller.errors import Throttled
from propeller.kube._deadline import Deadline

SHRINK = 0.5
"""The factor by which a 429 shrinks the limit: TCP's choice."""

JITTER = 0.1
"""Part of the server's pause that is added at most, so that rejected clients do not all retry together."""

GROWTH_SECONDS = 1.0
"""At least this long between two steps by which the limit grows: kube-apiserver's Retry-After."""

MAX_PAUSE = 30.0
"""Seconds. kube-apiserver asks for 1 and seldom for more; a proxy could ask for an hour by mistake."""


class FlowLimit:
    """A slot is taken by `try_acquire`, `acquire_within` or `acquire`, and given back by `release`, `succeeded` or
    `rejected`.
    """

    __slots__ = ("_grown_at", "_limit", "_max", "_name", "_waiting", "in_flight", "reserved", "shrinks", "throttled")

    def __init__(self, name: str, maximum: int) -> None:
        self._name = name
        self._max = float(maximum)
        self._limit = float(maximum)
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._grown_at = 0.0  # loop time, also of the last shrink
        self.in_flight = 0
        """Requests under way."""
        self.reserved = 0
        """Slots that stay empty until the Retry-After of the requests that had them has passed."""
        self.throttled = 0
        """Answers of 429, ever."""
        self.shrinks = 0
        """How often the limit was reduced: a request notes it at its start, and hands it to `rejected`."""

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return int(self._limit)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a slot if one is free and no request waits."""
        if self._waiting or self.in_flight + self.reserved + 1 > self._limit:
            return False
        self.in_flight += 1
        return True

    async def acquire_within(self, deadline: float) -> float:
        """Wait for a slot, `deadline` seconds at most; returns the rest of them. Raises Throttled."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with Deadline(deadline):
                await self.acquire()
        except TimeoutError as error:
            raise Throttled(f"no room for a request within {deadline:g} s: {self._state()}") from error
        return max(deadline - (loop.time() - began), 0.1)

    async def acquire(self) -> None:
        """Wait for a slot."""
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[slot] = None
        self._admit()
        try:
            await slot
        except asyncio.CancelledError:
            self._waiting.pop(slot, None)
            if slot.done() and not slot.cancelled():
                self.release()  # it had been given by then
            raise

    def _state(self) -> str:
        pause = f"; the server asked {self.reserved} to wait" if self.reserved else ""
        return f"{self.in_flight} of the flow {self._name!r} are under way, and {self.limit} may be{pause}"

    def release(self) -> None:
        """The request ended without a sign of how loaded the server is."""
        self.in_flight -= 1
        if self._waiting:
            self._admit()

    def succeeded(self) -> None:
        if self._limit < self._max:
            now = asyncio.get_running_loop().time()
            if now - self._grown_at >= GROWTH_SECONDS:
                self._grown_at = now
                self._limit = min(self._limit + 1.0, self._max)
        self.release()

    def rejected(self, shrinks: int, after: float | None) -> None:
        """It was answered with 429. `shrinks` as it was when the request began; `after`: seconds to wait, if named."""
        self.throttled += 1
        loop = asyncio.get_running_loop()
        if shrinks == self.shrinks:
            self.shrinks += 1
            self._limit = max(self._limit * SHRINK, 1.0)
            self._grown_at = loop.time()
        if after:
            self.reserved += 1
            loop.call_later(min(after, MAX_PAUSE) * random.uniform(1.0, 1.0 + JITTER), self._free_reserved)
        self.release()

    def _free_reserved(self) -> None:
        self.reserved -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.in_flight + self.reserved + 1 <= self._limit:
            slot, _ = self._waiting.popitem(last=False)
            if not slot.done():
                self.in_flight += 1
                slot.set_result(None)
