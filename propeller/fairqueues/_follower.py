"""Follows the FairQueues of a cluster: their limits are in force without a restart, and their statuses say so.

Guarantees
    On entering, the FairQueues that there are have been applied; later changes are applied in one go, as they come.
    A FairQueue that is refused changes no limits (`_merge`); its condition Ready, the log, and `refused` say why.
    Without the type, or without the right to read it, the settings' limits are in force: this is logged once, and the
    type is looked for again (`InformerWhenServed`). While there is no FairQueue nothing else is done.
    A FairQueue that is deleted takes its limits with it. While the API server cannot be reached, those that were seen
    last stay in force.
Errors
    Entering raises Unavailable if the FairQueues could not be listed within the deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.beside import beside
from propeller.clock import Clock, rfc3339
from propeller.errors import Invalid
from propeller.fairqueues._kind import FAIR_QUEUES, FairQueue
from propeller.fairqueues._merge import Accepted, Check, Verdict, merge
from propeller.fairqueues._report import conditions, usage_status
from propeller.informers import Change, Informer, InformerOptions, InformerWhenServed
from propeller.kube import Client
from propeller.resourcemgr import ResourceOptions, Usage
from propeller.status_writer import StatusWriter

_log = logging.getLogger(__name__)

MANAGER = "propeller-fairqueue-status"
"""The field manager of statuses."""


class FairQueues:
    """See the module's text. `apply` is called with the limits that are to be in force; `check` raises Invalid for
    limits that cannot be in force here, and refuses the FairQueue that asks for them; `usage` returns what is held,
    or None while another process writes statuses; `refused` is called for a FairQueue that is refused anew. Without
    `usage` no status is written.
    """

    def __init__(
        self,
        client: Client,
        settings: ResourceOptions,
        informers: InformerOptions,
        clock: Clock,
        *,
        apply: Callable[[ResourceOptions], None],
        check: Check | None = None,
        usage: Callable[[], Usage | None] | None = None,
        refused: Callable[[FairQueue, Invalid], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._apply = apply
        self._check = check
        self._usage = usage
        self._refused = refused
        self._informer: Informer[FairQueue] | None = None
        self._accepted: dict[str, Accepted] = {}
        self._verdicts: Mapping[str, Verdict] = {}
        self._conditions: dict[str, list[dict[str, Any]]] = {}
        """By uid: with the time of the last change, which the store may not have yet."""
        self._options: ResourceOptions | None = None
        self._is_due = False
        self._served = InformerWhenServed(
            client, FAIR_QUEUES, informers, self._synced, instead="the limits are those of the settings"
        )
        self._writer = StatusWriter(client, FAIR_QUEUES, MANAGER, self._statuses, settings.status_interval)

    @asynccontextmanager
    async def following(self, deadline: float) -> AsyncIterator[None]:
        """Follow until the block is left. Raises Unavailable after `deadline` seconds without a list."""
        async with self._served.following(deadline), beside(self._writer.run(), "write statuses of fairqueues"):
            yield

    def _synced(self, informer: Informer[FairQueue]) -> None:
        self._informer = informer
        informer.subscribe(self._changed)
        self._merge()

    def _changed(self, change: Change[FairQueue]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and _identity(old) == _identity(new):
            return  # its status
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._merge)

    def _merge(self) -> None:
        assert self._informer is not None
        self._is_due = False
        queues = tuple(self._informer.store)
        merged = merge(self._settings, queues, self._accepted, self._check)
        self._accepted = {uid: found.accepted for uid, found in merged.verdicts.items() if found.accepted is not None}
        for queue in queues:
            self._tell(queue, self._verdicts.get(queue.metadata.uid), merged.verdicts[queue.metadata.uid])
        self._verdicts = merged.verdicts
        self._conditions = {uid: found for uid, found in self._conditions.items() if uid in merged.verdicts}
        if merged.options != self._options:
            self._options = merged.options
            self._apply(msgspec.structs.replace(merged.options, generation=self._generation()))
        self._writer.wake()

    def _generation(self) -> int:
        """Of the limits: it grows with each change of a FairQueue, and is alike in all processes that have seen the
        same; of two settings, those of the process that has started later go before.
        """
        assert self._informer is not None
        version = self._informer.version
        return self._settings.generation + (int(version) if version.isdecimal() else 0)

    def _tell(self, queue: FairQueue, before: Verdict | None, now: Verdict) -> None:
        """Say what came of a FairQueue, if that is news."""
        name, generation = queue.metadata.name, queue.metadata.generation
        if now.refused is not None:
            if before is None or before.refused is None or str(before.refused) != str(now.refused):
                _log.warning("FairQueue %s is not in force with generation %d: %s", name, generation, now.refused)
                if self._refused is not None:
                    self._refused(queue, now.refused)
        elif now != before:
            over = f", in the place of {', '.join(now.replaces)} of the settings" if now.replaces else ""
            _log.info("FairQueue %s is in force with generation %d%s", name, generation, over)

    def _statuses(self) -> Iterable[tuple[FairQueue, Mapping[str, Any]]] | None:
        """Each FairQueue with the status that it should have; None while another process writes them."""
        if self._informer is None or self._usage is None or not len(self._informer.store):
            return ()
        usage = self._usage()
        if usage is None:
            self._conditions.clear()
            return None
        return self._rows(self._informer, usage)

    def _rows(self, informer: Informer[FairQueue], usage: Usage) -> Iterator[tuple[FairQueue, Mapping[str, Any]]]:
        now = rfc3339(self._clock.now())
        for queue in informer.store:
            if (verdict := self._verdicts.get(queue.metadata.uid)) is None:
                continue
            uid, accepted = queue.metadata.uid, verdict.accepted
            before = self._conditions.get(uid) or _conditions_of(queue)
            self._conditions[uid] = conditions(verdict, queue.metadata.generation, before, now)
            pools = () if accepted is None else [pool.name for pool in accepted.declares.pools]
            yield (
                queue,
                {
                    "observedGeneration": queue.metadata.generation,
                    "conditions": self._conditions[uid],
                    "accepted": None
                    if accepted is None
                    else {"generation": accepted.generation, "spec": accepted.spec},
                    **usage_status(pools, usage),
                },
            )


def _identity(queue: FairQueue) -> tuple[str, int, Any]:
    """What makes it another one to follow. Generations come again after a restore of the server."""
    return queue.metadata.uid, queue.metadata.generation, queue.spec


def _conditions_of(queue: FairQueue) -> Any:
    return queue.status.get("conditions") if isinstance(queue.status, dict) else None
