"""Workers for what reconciles begin, in lanes: who waits for one limit of the API server takes no worker of another's.

Guarantees
    However many launches wait (for a slot among the client's creates, or for a server that asks to wait), what was
    observed is read and statuses are written as if there were none; nor do these wait for each other, or for stops.
    In each lane tenants take turns, and within a tenant its executions (`reconcile.FairPool`).
    A job costs what it costs in a single pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Hashable
from contextlib import AsyncExitStack, asynccontextmanager

from propeller.reconcile import FairPool


class Lanes:
    """A pool for each kind of request that jobs end in; all pools have the same size. Tenants are executions' keys."""

    def __init__(
        self, size: int, *, group: Callable[[str], Hashable], on_error: Callable[[str, Exception], None]
    ) -> None:
        def lane() -> FairPool[str]:
            return FairPool(size, group=group, on_error=on_error)

        self.observe = lane()
        """Reads: of the API server, and of the object store, with what is written there in turn."""
        self.checkpoint = lane()
        """Status writes."""
        self.launch = lane()
        """Creates of attempts' resources, with the inputs that they need."""
        self.stop = lane()
        """Deletes, and what is written for them: of attempts' resources, of finalizers, of ended workflows."""
        self._all = (self.observe, self.checkpoint, self.launch, self.stop)

    async def drop(self, keys: Collection[str]) -> None:
        """Drop the jobs of executions: once this returns nothing more is sent for them."""
        for lane in self._all:
            await lane.drop(keys)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs until the block is left."""
        async with AsyncExitStack() as stack:
            for lane in self._all:
                await stack.enter_async_context(lane)
            yield
