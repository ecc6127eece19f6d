"""Flows: requests that share a limit, so that those of one never wait behind those of another.

Guarantees
    The flow of a request follows from its verb and resource alone. A burst of creates delays neither the renewal of a
    lease nor a status write nor a delete, whether it fills its own limit or the server rejects it.
    Creates are the first to yield to a server under load: any flow's 429, 503 or 504 shrinks their limit, and so do
    slow answers to creates. Other flows yield to their own 429 alone.
Caveats
    Watches belong to none: they are few, and have connections of their own. A 403 for an exhausted quota limits no
    flow, as only one namespace is full; nor does a webhook that denies or fails, whatever its code.
"""

from __future__ import annotations

import asyncio

from propeller.kube._limit import FlowLimit
from propeller.kube._options import ClientOptions
from propeller.kube._responses import retry_after, shows_load
from propeller.kube._slowness import Slowness
from propeller.kube._transport import Request, Response, Transport

_LEASES = "/apis/coordination.k8s.io/"

_PAUSE = 1.0
"""Seconds that a slot stays empty if the server names no time: kube-apiserver's own Retry-After."""


def requests_at_once(settings: ClientOptions) -> int:
    """Of all flows together: the connections that their requests take."""
    at_once = (settings.writes_at_once, settings.deletes_at_once, settings.status_at_once)
    return sum(at_once) + settings.reads_at_once + settings.leases_at_once


class Flows:
    """The limits of one client, each with its counters."""

    def __init__(self, settings: ClientOptions) -> None:
        self.leases = FlowLimit("leases", settings.leases_at_once)
        self.status = FlowLimit("status", settings.status_at_once)
        self.reads = FlowLimit("reads", settings.reads_at_once)
        self.writes = FlowLimit("writes", settings.writes_at_once)
        self.deletes = FlowLimit("deletes", settings.deletes_at_once)
        self._by_method = {"GET": self.reads, "PATCH": self.status, "PUT": self.status, "DELETE": self.deletes}
        self._slowness = Slowness(settings.slow_creates, settings.slow_creates_ratio)

    def of(self, request: Request) -> FlowLimit:
        """Leases by their API group; then reads, changes of existing objects (status writes), deletes, creates."""
        if request.path.startswith(_LEASES):
            return self.leases
        return self._by_method.get(request.method, self.writes)

    async def send(self, transport: Transport, request: Request, deadline: float) -> Response:
        """Send as part of its flow. The wait for a slot counts towards the deadline (seconds); raises Overloaded."""
        limit = self.of(request)
        if not limit.try_acquire():
            deadline = await limit.acquire_within(deadline)
        shrinks = limit.shrinks
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            response = await transport.send(request, deadline=deadline)
        except BaseException:
            limit.release()
            if limit is self.writes and clock() - began >= self._slowness.slow:  # a cut connection fails at once
                self._took(clock() - began, clock())
            raise
        if response.status < 429:
            limit.succeeded()
            if limit is self.writes:
                now = clock()
                self._took(now - began, now)
        elif shows_load(response):
            self._is_loaded(limit, shrinks, response)
        else:
            limit.release()
        return response

    def _is_loaded(self, limit: FlowLimit, shrinks: int, response: Response) -> None:
        """The answer shows that the server is under load."""
        after, cause = retry_after(response) or _PAUSE, str(response.status)
        if limit is self.writes or response.status == 429:
            limit.rejected(shrinks, after, cause)
        else:
            limit.release()
        if limit is not self.writes:
            self.writes.warned(cause)

    def _took(self, seconds: float, now: float) -> None:
        """A create was answered, or was given up, after so long."""
        found = self._slowness.answered(seconds, now, self.writes.limit)
        if found is None:
            return
        factor = self._slowness.factor(found)
        self.writes.is_slow = factor is not None
        if factor is not None:
            self.writes.slowed(factor, found)
