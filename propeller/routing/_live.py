"""The routing table in force, from wherever the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from propeller.clock import Clock
from propeller.errors import Invalid
from propeller.informers import InformerOptions
from propeller.kube import Client
from propeller.routing._decide import States
from propeller.routing._follow_file import FileTable
from propeller.routing._follow_resource import ResourceTable
from propeller.routing._kind import RoutingTable
from propeller.routing._options import RoutingOptions
from propeller.routing._table import Table


class Source(Protocol):
    """Follows a table."""

    def is_refused(self) -> bool: ...

    def following(self, deadline: float) -> AbstractAsyncContextManager[None]: ...


class LiveTable:
    """`table` is None before `following`, and while the RoutingTable that the settings name is not there: everything
    has to wait then, for the reason `missing`.
    """

    def __init__(
        self,
        client: Client,
        options: RoutingOptions,
        informers: InformerOptions,
        clock: Clock,
        *,
        changed: Callable[[Table], None],
        refused: Callable[[RoutingTable | None, Invalid], None],
        states: Callable[[], States | None] | None = None,
    ) -> None:
        """`options` name a file or a RoutingTable. `changed` is called with each table that comes into force, on the
        loop, `refused` with what is not to be (None for the RoutingTable if it is of a file). `states` returns how the
        clusters are, for the RoutingTable's status, which is not written without it, nor while it returns None.
        """
        self.table: Table | None = None
        self._changed = changed
        self._source: Source
        if options.file:
            self.missing = f"the routing table of {options.file} was not read yet"
            self._source = FileTable(
                options.file, options.file_interval, self._apply, lambda error: refused(None, error)
            )
        else:
            self.missing = f"there is no RoutingTable {options.table!r}"
            self._source = ResourceTable(
                client, options, informers, clock, apply=self._apply, refused=refused, states=states
            )

    def is_refused(self) -> bool:
        """Whether the newest version is not in force, as it is wrong or cannot be read."""
        return self._source.is_refused()

    @asynccontextmanager
    async def following(self, deadline: float) -> AsyncIterator[None]:
        """Follow until the block is left. Raises InvalidTable or Invalid for a file's table that cannot be used,
        Unavailable after `deadline` seconds in which the API server did not answer.
        """
        async with self._source.following(deadline):
            yield

    def _apply(self, table: Table) -> None:
        self.table = table
        self._changed(table)
