"""A transport that lets nothing change once the right to act is lost.

Guarantees
    The check is made when the request leaves, after every wait for its turn: a process that was halted meanwhile sends
    no request that changes anything. Reads pass: they do no harm. So do requests for Leases, by which the right is won,
    kept and given up: their own rules guard them.
Errors
    LeaseLost in the place of such a request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from propeller.kube import Request, Response, Stream, Transport

_READS = frozenset({"GET", "HEAD"})

_LEASES = "/apis/coordination.k8s.io/"


class FencedTransport:
    """Sends through `transport` while `check` does not raise."""

    def __init__(self, transport: Transport, check: Callable[[], None]) -> None:
        self._transport = transport
        self._check = check

    async def send(self, request: Request, *, deadline: float) -> Response:
        if request.method not in _READS and not request.path.startswith(_LEASES):
            self._check()
        return await self._transport.send(request, deadline=deadline)

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._transport.stream(request, deadline=deadline)

    async def close(self) -> None:
        await self._transport.close()
