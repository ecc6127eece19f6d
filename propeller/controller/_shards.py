"""Work on the shards that this process holds: cache, load and run their executions, and hand them over.

Guarantees
    Only executions of shards that were taken are in the caches and in memory. A shard's attempts are cached before its
    workflows are, in all clusters that may be asked, so that nothing runs before everything that it has started is
    known.
    `give_up` writes what no status has yet, and ids of jobs that begin meanwhile, for `shards.handover` seconds, drops
    what is under way after that, and returns when nothing more will be sent. What it drops is found again as after a
    crash (docs/consistency.md).
    Claims of shared tokens are handed over with their executions (see HandedTokens).
Caveats
    The janitor may end what it has begun to delete of a workflow that is gone, which the next process deletes as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from propeller.config import Settings
from propeller.controller._attempt_resources import PARENT_INDEX
from propeller.controller._checkpoints import Checkpoints
from propeller.controller._duty import Shared
from propeller.controller._handed_tokens import HandedTokens
from propeller.controller._loading import Loader
from propeller.controller._resource import WORKFLOWS, FlyteWorkflow
from propeller.controller._session import Running
from propeller.controller._several import SeveralClusters
from propeller.handlers import TRANSITIONS, LaunchTokens
from propeller.handlers.plugins import parents_of
from propeller.informers import (
    AnyInformer,
    IndexFunction,
    Informer,
    InformerOptions,
    Selection,
    ShardedInformer,
)
from propeller.kube import Client
from propeller.reconcile import Result
from propeller.reconcile.shards import Keyspace, LabelShards, Peers
from propeller.workflow import SHARD_KEYS, SHARD_LABEL, Follow, Submitted, cluster_of_key, decide, key_of_cluster

_log = logging.getLogger(__name__)

POLL = 0.02
"""Seconds between two looks whether everything is written."""


def keyspace_of(settings: Settings) -> LabelShards | None:
    """How FlyteWorkflows and what is made for them are divided; None if they are not."""
    if not settings.shards.count:
        return None
    named = tuple(map(key_of_cluster, settings.shards.clusters))
    return LabelShards(SHARD_LABEL, SHARD_KEYS, settings.shards.count, named)


def informer_of_workflows(
    client: Client, namespace: str | None, loader: Loader, settings: InformerOptions, keyspace: Keyspace | None
) -> AnyInformer[FlyteWorkflow]:
    """The informer of FlyteWorkflows: of shards that are opened, or of all."""

    def part(
        chosen: Selection, indexes: Mapping[str, IndexFunction[FlyteWorkflow]] | None = None
    ) -> Informer[FlyteWorkflow]:
        return Informer(
            client,
            WORKFLOWS,
            namespace=namespace,
            label_selector=chosen.label_selector,
            transform=loader.transform,
            salvage=loader.salvage,
            indexes=indexes,
            settings=settings,
        )

    indexes: Mapping[str, IndexFunction[FlyteWorkflow]] = {PARENT_INDEX: lambda found: parents_of(found.metadata)}
    if keyspace is None:
        return part(Selection(), indexes)
    return ShardedInformer(WORKFLOWS, part, keyspace.selection, indexes=indexes)


class Shards:
    """Implements `ShardServer`. `forget` drops what the controller knows of the workflow of that key and uid."""

    def __init__(
        self,
        shared: Shared,
        workflows: ShardedInformer[FlyteWorkflow],
        checkpoints: Checkpoints,
        tokens: LaunchTokens | None,
        several: SeveralClusters,
        reconcile: Callable[[str], Result],
        forget: Callable[[str, str], None],
    ) -> None:
        self._workflows = workflows
        self._executions = shared.executions
        self._lanes = shared.lanes
        self._resources = shared.clusters.control.resources
        self._checkpoints = checkpoints
        self._tokens = HandedTokens(tokens, shared.clock, shared.settings.election)
        self._placing = shared.placing
        self._several = several
        self._reconcile = reconcile
        self._forget = forget
        self._clock = shared.clock
        self._deadline = shared.settings.client.deadline
        self._handover = shared.settings.shards.handover
        self._closing: set[int] = set()

    def reconcile(self, key: str) -> Result:
        """Reconcile an execution, unless its shard is being handed over."""
        if self._closing and self._workflows.shard_of(key) in self._closing:
            return Result()
        return self._reconcile(key)

    async def take(self, shard: int) -> None:
        """Begin to work on a shard. Raises Unavailable."""
        began = self._clock.monotonic()
        await self._resources.open(shard, self._deadline)
        await self._several.shards.take(shard)
        await self._workflows.open(shard, self._deadline)
        count, seconds = len(self._workflows.keys_of(shard)), self._clock.monotonic() - began
        _log.info("shard %d is here, with %d workflows, after %.2f s", shard, count, seconds)

    async def give_up(self, shards: Collection[int]) -> None:
        """End the work on shards; once this returns nothing more is sent for them."""
        began = self._clock.monotonic()
        self._closing |= set(shards)
        try:
            keys = {key for shard in shards for key in self._workflows.keys_of(shard)}
            await self._write_progress(keys)
            await self._lanes.drop(keys)
            remaining = {shard: self._workflows.keys_of(shard) for shard in shards}
            self._restart(keys.difference(*remaining.values()))
            uids = {shard: self._drop(of_shard) for shard, of_shard in remaining.items()}
            for shard in shards:
                await self._workflows.close(shard)
            await self._several.shards.give_up(shards)
            for shard, of_shard in uids.items():
                self._tokens.hand_over(shard, of_shard)
        finally:
            self._closing -= set(shards)
        seconds = self._clock.monotonic() - began
        _log.info("shards %s are given up, with %d workflows, after %.2f s", sorted(shards), len(keys), seconds)

    def loads(self) -> Mapping[int, float]:
        """How many executions of each shard have not ended."""
        found: Counter[int] = Counter(dict.fromkeys(self._workflows.shards, 0))
        for key in (*self._executions.sessions, *self._executions.evicted):
            if (shard := self._workflows.shard_of(key)) is not None:
                found[shard] += 1
        return {shard: float(count) for shard, count in found.items()}

    def note(self) -> str:
        """What this process tells the others of itself."""
        return self._several.peers.note()

    def met(self, peers: Peers) -> None:
        """What others tell of themselves."""
        self._several.peers.met(peers)
        self._tokens.met(peers.loads)

    def confine(self, names: frozenset[str] | None) -> None:
        """Launch only in the clusters of the shards with these names; None: anywhere."""
        if self._placing.bounds.confine(None if names is None else frozenset(map(cluster_of_key, names))):
            self._placing.changed()

    def _sessions(self, keys: Iterable[str]) -> list[Running]:
        sessions = (self._executions.get(key) for key in keys)
        return [session for session in sessions if isinstance(session, Running)]

    async def _write_progress(self, keys: Collection[str]) -> None:
        """Write the statuses that are due some time, and let what is under way end, for as long as there is time."""
        end = self._clock.monotonic() + self._handover
        for session in self._sessions(keys):
            self._checkpoints.begin(session)
        while self._clock.monotonic() < end:
            for session in self._sessions(keys):
                self._note_jobs(session)
            if not any(session.writing or session.in_flight for session in self._sessions(keys)):
                return
            await asyncio.sleep(POLL)

    def _note_jobs(self, session: Running) -> None:
        """Write the ids of jobs that were answered meanwhile: without them the next process would begin other ones, and
        this one delete those. The next one decides itself what else follows.
        """
        began = [(node, event) for node, event in session.inbox if isinstance(event, Submitted)]
        if not began or session.has_ended or session.writing:
            return
        now = self._clock.now()
        session.inbox = [one for one in session.inbox if one not in began]
        effects = decide(session.execution, began, now, TRANSITIONS).effects
        session.deferred += [effect for effect in effects if isinstance(effect, Follow)]
        session.record_change(now)
        self._checkpoints.begin(session)

    def _restart(self, keys: Collection[str]) -> None:
        """Begin anew with executions that have gone to other shards while what was under way for them was dropped."""
        for key in keys:
            if (session := self._executions.get(key)) is not None:
                if isinstance(session, Running):
                    session.writing = False  # a write that waited for its turn was dropped
                self._executions.reload(session)
            self._executions.reconcile(key)

    def _drop(self, keys: Collection[str]) -> list[str]:
        """Drop executions from memory; returns the uids of their workflows."""
        uids = []
        for key in keys:
            if (session := self._executions.get(key)) is not None:
                self._executions.forget(session)
            if (workflow := self._workflows.store.get(key)) is not None:
                uids.append(workflow.metadata.uid)
                self._forget(key, workflow.metadata.uid)
        return uids
