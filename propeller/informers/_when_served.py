"""An informer of a type that may not be installed, or not be readable: it begins when the type is there.

Guarantees
    On entering, either the objects that there are have been listed, or it is known that the type is not served or may
    not be read. In the latter case the type is looked for again after FIRST_LOOK_SECONDS, then after pauses that double
    up to LOOK_SECONDS; the log says so once.
Errors
    Entering raises Unavailable if the objects could not be listed within the deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from propeller.beside import beside
from propeller.errors import Denied, NotFound
from propeller.informers._informer import Informer
from propeller.informers._options import InformerOptions
from propeller.kube import Client, Resource
from propeller.telemetry import Causes

T = TypeVar("T")

_log = logging.getLogger(__name__)

FIRST_LOOK_SECONDS, LOOK_SECONDS = 1.0, 60.0
"""Between two looks for the type while it is not served: doubling from the first to the second, as an API server
serves a type some moments after it was installed.
"""


class InformerWhenServed(Generic[T]):
    """`synced` is called with the informer once its first list is there, before anything that follows it."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        settings: InformerOptions,
        synced: Callable[[Informer[T]], None],
        *,
        instead: str,
        field_selector: str = "",
    ) -> None:
        """`instead` begins the line of the log that says that the type is not there: what is in force then."""
        self._client = client
        self._resource = resource
        self._settings = settings
        self._synced = synced
        self._instead = instead
        self._field_selector = field_selector
        self._said = False
        self._causes = Causes(_log)

    @asynccontextmanager
    async def following(self, deadline: float) -> AsyncIterator[None]:
        """Follow until the block is left. Raises Unavailable after `deadline` seconds without a list."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with beside(self._follow(first, deadline), f"follow {self._resource.plural}"):
            await first
            yield

    async def _follow(self, first: asyncio.Future[None], deadline: float) -> None:
        """Follow until cancelled. `first` is done once it is known what there is; it fails if that cannot be known."""
        pause = FIRST_LOOK_SECONDS
        while True:
            try:
                await self._follow_once(first, deadline)
            except Exception as error:  # noqa: BLE001 - whoever waits for `first` has it, and later tries are to go on
                if not first.done():
                    first.set_exception(error)
                    return
                self._causes.report(error, "%ss cannot be followed: trying again", self._resource.kind)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS)

    async def _follow_once(self, first: asyncio.Future[None], deadline: float) -> None:
        """Follow until cancelled if the type is served."""
        if await self._is_served():
            informer = Informer(
                self._client, self._resource, field_selector=self._field_selector, settings=self._settings
            )
            async with informer:
                await informer.wait_for_sync(deadline)
                self._synced(informer)
                _finish(first)
                await asyncio.Event().wait()
        _finish(first)

    async def _is_served(self) -> bool:
        try:
            await self._client.list(self._resource.metadata_only(), field_selector=self._field_selector, limit=1)
        except (NotFound, Denied) as error:
            if not self._said:
                self._said = True
                why = "may not be listed" if isinstance(error, Denied) else "are not installed"
                _log.info("%s: %ss %s", self._instead, self._resource.kind, why)
            return False
        return True


def _finish(first: asyncio.Future[None]) -> None:
    if not first.done():
        first.set_result(None)
