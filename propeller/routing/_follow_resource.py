"""Follows the RoutingTable of one name: its table is in force without a restart, and its status says so.

Guarantees
    On entering, the RoutingTable that there is has been read. A change is in force as soon as it was checked, a large
    one in a thread. One that is refused changes nothing: its condition Accepted, the log and `refused` say why. What
    was accepted of it before, as its status says, is in force then, also for a controller that starts.
    Without the RoutingTable, its type, or the right to read it, there is no table, until it comes. One that is deleted
    while it is followed stays in force in this process, which the log says.
    The status is written at most once an interval, and only if it has changed.
Errors
    Entering raises Unavailable if it could not be read within the deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.beside import beside
from propeller.clock import Clock, rfc3339
from propeller.errors import Invalid
from propeller.informers import Change, Informer, InformerOptions, InformerWhenServed
from propeller.kube import Client
from propeller.routing._decide import States
from propeller.routing._kind import ROUTING_TABLES, RoutingTable
from propeller.routing._options import RoutingOptions
from propeller.routing._parse import table_of
from propeller.routing._problems import InvalidTable
from propeller.routing._report import Verdict, accepted_before, status_of
from propeller.routing._table import Table
from propeller.status_writer import StatusWriter
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)

MANAGER = "propeller-routing-status"
"""The field manager of statuses."""


LARGE = 8 * 1024
"""Bytes of a spec whose check takes some ms: those of larger ones are left to a thread."""


class ResourceTable:
    """`apply` is called with each table that is to be in force; `refused` for a RoutingTable that is refused anew;
    `states` returns how the clusters are: without it, or while it returns None, no status is written.
    """

    def __init__(
        self,
        client: Client,
        options: RoutingOptions,
        informers: InformerOptions,
        clock: Clock,
        *,
        apply: Callable[[Table], None],
        refused: Callable[[RoutingTable, Invalid], None],
        states: Callable[[], States | None] | None,
    ) -> None:
        self._name = options.table
        self._clock = clock
        self._apply = apply
        self._refused = refused
        self._states = states
        self._informer: Informer[RoutingTable] | None = None
        self._verdict: tuple[RoutingTable, Verdict] | None = None
        """What came of the RoutingTable that was looked at last."""
        self._changes = asyncio.Event()
        self._causes = Causes(_log)
        self._status: tuple[str, dict[str, Any]] | None = None
        """By uid, what was computed last: the store may not have it yet."""
        self._served = InformerWhenServed(
            client,
            ROUTING_TABLES,
            informers,
            self._synced,
            instead=f"there is no routing table {self._name!r}, so all executions wait",
            field_selector=f"metadata.name={self._name}",
        )
        self._writer: StatusWriter[RoutingTable] = StatusWriter(
            client, ROUTING_TABLES, MANAGER, self._statuses, options.status_interval
        )

    def is_refused(self) -> bool:
        """Whether the RoutingTable as it is now is not in force."""
        return self._verdict is not None and self._verdict[1].refused is not None

    @asynccontextmanager
    async def following(self, deadline: float) -> AsyncIterator[None]:
        """Follow until the block is left. Raises Unavailable after `deadline` seconds without a list."""
        async with self._served.following(deadline):
            await self._look()
            following = beside(self._follow(), "follow the routing table")
            async with following, beside(self._writer.run(), "write the routing table's status"):
                yield

    def _synced(self, informer: Informer[RoutingTable]) -> None:
        self._informer = informer
        informer.subscribe(self._changed)

    def _changed(self, change: Change[RoutingTable]) -> None:
        if change.new is None:
            _log.warning("RoutingTable %s was deleted: what it said last stays in force here", self._name)
        self._changes.set()

    async def _follow(self) -> None:
        while True:
            await self._changes.wait()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - a defect, after which later versions are to be read all the same
                self._causes.report(error, "RoutingTable %s cannot be followed: it stays as it was", self._name)

    async def _look(self) -> None:
        """Have what the store has in force, if it is another than before."""
        self._changes.clear()
        found = None if self._informer is None else self._informer.store.get(self._name)
        if found is None:
            if self._informer is not None and self._verdict is None:
                _log.warning("there is no RoutingTable %s: all executions wait until there is", self._name)
            return
        if self._verdict is not None and _identity(self._verdict[0]) == _identity(found):
            return  # its status
        earlier = None if self._verdict is None else self._verdict[1]
        if len(msgspec.json.encode(found.spec)) > LARGE:
            verdict = await asyncio.to_thread(_examined, found, earlier)
        else:
            verdict = _examined(found, earlier)
        before, self._verdict = self._verdict, (found, verdict)
        if verdict.table is not None and (before is None or verdict.table is not before[1].table):
            self._apply(verdict.table)
        self._say(found, verdict)
        self._writer.wake()

    def _say(self, found: RoutingTable, verdict: Verdict) -> None:
        generation = found.metadata.generation
        if verdict.refused is None:
            _log.info("RoutingTable %s is in force with generation %d", self._name, generation)
        else:
            _log.warning(
                "RoutingTable %s is not in force with generation %d: %s", self._name, generation, verdict.refused
            )
            self._refused(found, verdict.refused)

    def _statuses(self) -> Iterator[tuple[RoutingTable, Mapping[str, Any]]] | None:
        if self._states is None:
            return iter(())
        if (states := self._states()) is None:
            self._status = None  # another process writes it
            return None
        return self._status_with(states)

    def _status_with(self, states: States) -> Iterator[tuple[RoutingTable, Mapping[str, Any]]]:
        if self._verdict is None or self._informer is None:
            return
        found, verdict = self._verdict
        stored = self._informer.store.get(self._name)
        if stored is None or stored.metadata.uid != found.metadata.uid:
            return
        uid, before = found.metadata.uid, stored.status
        if self._status is not None and self._status[0] == uid:
            before = self._status[1]
        status = status_of(verdict, found.metadata.generation, states, before, rfc3339(self._clock.now()))
        self._status = (uid, status)
        yield stored, status


def _identity(found: RoutingTable) -> tuple[str, int, Any]:
    """What makes it another one to examine. Generations come again after a restore of the server."""
    return found.metadata.uid, found.metadata.generation, found.spec


def _examined(found: RoutingTable, before: Verdict | None) -> Verdict:
    """What comes of a RoutingTable; `before` is what came of it last in this process."""
    generation = found.metadata.generation
    try:
        return Verdict(table_of(found.spec), generation, found.spec)
    except InvalidTable as error:
        refused = error
    if before is not None and before.table is not None:
        return Verdict(before.table, before.generation, before.spec, refused)
    earlier = accepted_before(found.status)
    if earlier is not None:
        try:
            return Verdict(table_of(earlier[1]), *earlier, refused)
        except InvalidTable:
            _log.info("what was accepted of RoutingTable %s before is no table to this version", found.metadata.name)
    return Verdict(None, refused=refused)
