"""The cache of task outputs, as nodes use it: what identifies a node's computation, and who waits for which.

Guarantees
    Nothing here raises or fails a node: whatever happens to the cache, the task runs.
    A node that has a reservation gives it back when it ends, however that is; one that has ended gets none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from propeller.catalog import Catalog, Key, Origin, Owner, key_of
from propeller.clock import Clock
from propeller.errors import PropellerError
from propeller.handlers.executors._inputs import Inputs
from propeller.handlers.executors._waits import Holder, holder_of
from propeller.storage import Storage
from propeller.workflow import (
    ENDED,
    CacheAnswered,
    CacheReserved,
    CacheStatus,
    NodePhase,
    NodeView,
    Populated,
    caching_of,
)

KEPT_KEYS = 4096
"""Keys of nodes that run, about a kilobyte each: those of others are computed again when their outputs are put."""


class TaskCache:
    """See the module's text. `tell` lets the attempt of a holder ask again; false if it is over."""

    def __init__(
        self, catalog: Catalog, inputs: Inputs, storage: Storage, clock: Clock, tell: Callable[[Holder], bool]
    ) -> None:
        self.catalog = catalog
        self._inputs = inputs
        self._storage = storage
        self._clock = clock
        self._tell = tell
        self._keys: OrderedDict[str, Key] = OrderedDict()
        """By the name of the owner."""

    async def look_up(self, node: NodeView, attempt: int) -> CacheAnswered | CacheReserved:
        """Take over cached outputs; without any, reserve the computation if the task asks for that."""
        try:
            key = await self._key_of(node)
        except PropellerError:  # the launch runs into it again, and says what it is
            return CacheAnswered(attempt, CacheStatus.LOOKUP_FAILURE)
        template = node.graph.plan.task(node.spec.task)
        target = f"{node.execution.output_directory(node.number, attempt)}/outputs.pb"
        owner = _owner_of(node)
        found = await self.catalog.look_up(key, template, target, is_item=node.item is not None)
        if found.status is CacheStatus.HIT:
            self.catalog.reservations.no_longer_waits(key.path, owner)
            return CacheAnswered(attempt, found.status)
        if found.status is CacheStatus.MISS and caching_of(node).serialize and not _is_over(node):
            holder = holder_of(node, attempt)
            busy = await self.catalog.reservations.acquire(key.path, owner, lambda: self._tell(holder))
            if busy is not None:
                return CacheReserved(attempt, busy.reason, busy.after)
        self._keep(owner, key)
        return CacheAnswered(attempt, found.status)

    async def populate(self, node: NodeView, attempt: int) -> Populated:
        """Cache the outputs of an attempt that has succeeded."""
        execution = node.execution
        config = execution.info.spec.execution_config
        try:
            key = self._keys.pop(_owner_of(node).name, None) or await self._key_of(node)
            outputs = await self._storage.read(f"{execution.output_directory(node.number, attempt)}/outputs.pb")
        except PropellerError:
            return Populated(attempt, CacheStatus.PUT_FAILURE)
        origin = Origin(
            key,
            execution.key,
            execution.info.uid,
            execution.unique_id(node.number),
            attempt,
            node.graph.plan.task(node.spec.task).id.version,
            self._clock.now(),
        )
        return Populated(attempt, await self.catalog.put(key, outputs, origin, overwrite=bool(config.overwrite_cache)))

    async def reserve(self, node: NodeView) -> None:
        """Keep the reservation of a node that was loaded."""
        try:
            key = await self._key_of(node)
        except PropellerError:
            return  # it is void in time
        if _is_over(node):
            return
        owner = _owner_of(node)
        self._keep(owner, key)
        await self.catalog.reservations.keep(key.path, owner)

    def ended(self, nodes: Iterable[NodeView]) -> None:
        """Give back what nodes that have ended had reserved."""
        if not self.catalog.reservations.count and not self._keys:
            return
        for node in nodes:
            owner = _owner_of(node)
            self._keys.pop(owner.name, None)
            succeeded = node.execution.phases[node.number] == NodePhase.SUCCEEDED
            self.catalog.reservations.release(owner, computed=succeeded)

    def forget(self, uid: str, *, is_over: bool) -> None:
        """The execution has ended or is gone; or another process has it from now on."""
        self.catalog.reservations.forget(uid, is_over=is_over)

    async def _key_of(self, node: NodeView) -> Key:
        """Raises what resolving the node's inputs raises, and CorruptBlob."""
        inputs = await self._inputs.peek(node)
        template, most = node.graph.plan.task(node.spec.task), self._storage.settings.max_messages
        return await key_of(template, caching_of(node), inputs, most)

    def _keep(self, owner: Owner, key: Key) -> None:
        self._keys[owner.name] = key
        if len(self._keys) > KEPT_KEYS:
            self._keys.popitem(last=False)


def _is_over(node: NodeView) -> bool:
    """Whether the node has ended, or its execution is gone, while its inputs were read, or the cache was asked."""
    return node.execution.dropped or node.execution.phases[node.number] in ENDED


def _owner_of(node: NodeView) -> Owner:
    execution = node.execution
    return Owner(execution.info.uid, execution.unique_id(node.number), execution.key)
