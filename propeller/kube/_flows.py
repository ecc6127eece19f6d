"""Flows: requests that share a limit, so that those of one never wait behind those of another.

Guarantees
    The flow of a request follows from its verb and resource alone. A burst of creates delays neither the renewal of a
    lease nor a status write nor a delete, whether it fills its own limit or the server rejects it.
Caveats
    Watches belong to none: they are few, and have connections of their own. A 403 for an exhausted quota limits no
    flow, as only one namespace is full; nor does a 5xx.
"""

from __future__ import annotations

from propeller.kube._limit import FlowLimit
from propeller.kube._options import ClientOptions
from propeller.kube._responses import retry_after
from propeller.kube._transport import Request, Response, Transport

_LEASES = "/apis/coordination.k8s.io/"


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

    def of(self, request: Request) -> FlowLimit:
        """Leases by their API group; then reads, changes of existing objects (status writes), deletes, creates."""
        if request.path.startswith(_LEASES):
            return self.leases
        return self._by_method.get(request.method, self.writes)

    async def send(self, transport: Transport, request: Request, deadline: float) -> Response:
        """Send as part of its flow. The wait for a slot counts towards the deadline (seconds); raises Throttled."""
        limit = self.of(request)
        if not limit.try_acquire():
            deadline = await limit.acquire_within(deadline)
        shrinks = limit.shrinks
        try:
            response = await transport.send(request, deadline=deadline)
        except BaseException:
            limit.release()
            raise
        if response.status == 429:
            limit.rejected(shrinks, retry_after(response))
        elif response.status < 500:
            limit.succeeded()
        else:
            limit.release()
        return response
