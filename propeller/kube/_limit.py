"""An adaptive limit of a flow's concurrent requests.

Guarantees
    At most `maximum` at once, and never fewer than one. Slots are given in the order in which they were asked for.
    A 429 halves the limit, once for all requests in flight, and its slot stays reserved until Retry-After has passed,
    with jitter: if the server rejects all, all pause; if it rejects one of ten, nine go on. The limit grows back by
    one, at most once a second, with successes. Additive increase and multiplicative decrease make the shares of many
    such clients fair, and use the server fully (Chiu and Jain, 1989; TCP's congestion avoidance, Jacobson, 1988).
    Growth is by time and not by request: one too many costs a second, kube-apiserver's Retry-After.
Errors
    Overloaded, if no slot comes free in time.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import Callable

from propeller.errors import Overloaded
from propeller.kube._deadline import Deadline

SHRINK = 0.5
"""The factor by which a 429 shrinks the limit: TCP's choice."""

JITTER = 0.1
"""Part of the server's pause that is added at most, so that rejected clients do not all retry together."""

GROWTH_SECONDS = 1.0
"""At least this long between two steps by which the limit grows: kube-apiserver's Retry-After."""

MAX_PAUSE = 30.0
"""Seconds. kube-apiserver asks for 1 and seldom for more; a proxy could ask for an hour by mistake."""

THROTTLED, SLOW = "429", "slow"
"""Why a limit shrinks; else the code of another answer."""


class FlowLimit:
    """A slot is taken by `try_acquire`, `acquire_within` or `acquire`, and given back by `release`, `succeeded` or
    `rejected`.

    More than 15 methods: one for each way to take a slot, to give it back, and to hear of the server's load.
    """

    __slots__ = (
        *("_changed_at", "_limit", "_max", "_name", "_waiting", "in_flight", "reserved", "shrinks"),
        *("cause", "is_slow", "on_room", "reductions"),
    )

    def __init__(self, name: str, maximum: int) -> None:
        self._name = name
        self._max = float(maximum)
        self._limit = float(maximum)
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._changed_at = 0.0  # loop time of the last growth or shrink
        self.in_flight = 0
        """Requests under way."""
        self.reserved = 0
        """Slots that stay empty until the Retry-After of the requests that had them has passed."""
        self.shrinks = 0
        """How often the limit was reduced: a request notes it at its start, and hands it to `rejected`."""
        self.reductions: Counter[str] = Counter()
        """Signs of load, ever, by their cause: `429` and other codes count each answer, `slow` each reduction."""
        self.cause = ""
        """Of the last reduction, for people; "" while the limit is at its most."""
        self.is_slow = False
        """Whether answers are too slow for the limit to grow."""
        self.on_room: Callable[[], None] | None = None
        """Called when time alone has made room."""

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return int(self._limit)

    @property
    def maximum(self) -> int:
        """The limit without any sign of load."""
        return int(self._max)

    @property
    def is_pressed(self) -> bool:
        """Whether fewer requests than usual may be under way, as the server is under load."""
        return self._limit < self._max or self.reserved > 0

    @property
    def throttled(self) -> int:
        """Answers of 429, ever."""
        return self.reductions[THROTTLED]

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
        """Wait for a slot, `deadline` seconds at most; returns the rest of them. Raises Overloaded."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with Deadline(deadline):
                await self.acquire()
        except TimeoutError as error:
            raise Overloaded(f"no room for a request within {deadline:g} s: {self._state()}") from error
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
        if self._limit < self._max and not self.is_slow:
            now = asyncio.get_running_loop().time()
            if now - self._changed_at >= GROWTH_SECONDS:
                self._changed_at = now
                self._limit = min(self._limit + 1.0, self._max)
                if self._limit == self._max:
                    self.cause = ""
        self.release()

    def rejected(self, shrinks: int, after: float | None, cause: str = THROTTLED) -> None:
        """It was answered with 429, or with another sign of load. `shrinks` as it was when the request began; `after`:
        seconds to wait, if named.
        """
        self.reductions[cause] += 1
        if shrinks == self.shrinks:
            self._shrink(SHRINK, f"it answers {cause}")
        if after:
            self.reserved += 1
            pause = min(after, MAX_PAUSE) * random.uniform(1.0, 1.0 + JITTER)
            asyncio.get_running_loop().call_later(pause, self._free_reserved)
        self.release()

    def slowed(self, factor: float, seconds: float) -> None:
        """Answers take so long that fewer requests should be under way, by this factor."""
        self.reductions[SLOW] += 1
        self._shrink(factor, f"it takes {seconds:.2g} s for a create")

    def warned(self, cause: str) -> None:
        """A request of another flow had an answer that shows load; counted once in `GROWTH_SECONDS`."""
        if asyncio.get_running_loop().time() - self._changed_at >= GROWTH_SECONDS:
            self.reductions[cause] += 1
            self._shrink(SHRINK, f"it answers {cause}")

    def _shrink(self, factor: float, cause: str) -> None:
        self.shrinks += 1
        self.cause = cause
        self._limit = max(self._limit * factor, 1.0)
        self._changed_at = asyncio.get_running_loop().time()

    def _free_reserved(self) -> None:
        self.reserved -= 1
        self._admit()
        if self.on_room is not None:
            self.on_room()

    def _admit(self) -> None:
        while self._waiting and self.in_flight + self.reserved + 1 <= self._limit:
            slot, _ = self._waiting.popitem(last=False)
            if not slot.done():
                self.in_flight += 1
                slot.set_result(None)
