"""Run one informer per task plugin, and find the resources of an execution: pods, and those of other plugins.

Guarantees
    The cache of pods is synced before anything runs. If a plugin's resource cannot be listed, because its type is not
    served or access is denied, the controller starts all the same: the informer retries, the plugin's tasks wait, and
    the log says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from propeller.controller._attempt_events import owner_uids
from propeller.controller._resource import FlyteWorkflow, as_child
from propeller.errors import PropellerError
from propeller.handlers import Kind
from propeller.handlers.plugins import (
    CHILD,
    CHILD_WORKFLOWS,
    EXECUTION_LABEL,
    POD,
    AttemptObserver,
    Plugins,
    TaskPlugin,
)
from propeller.informers import AnyInformer, IndexFunction, Informer, InformerOptions, Selection, ShardedInformer
from propeller.kube import Client, KubeObject, ObjectMeta, Pod, Resource
from propeller.reconcile.shards import Keyspace
from propeller.workflow import AttemptPhase

_log = logging.getLogger(__name__)

_OWNER_INDEX = "owner"

PARENT_INDEX = "parent"
"""The index of the informer of FlyteWorkflows: by the uid of the execution that started each."""


class AttemptResource(NamedTuple):
    """The resource of an attempt, what reads it, and its cluster: a client, and its name ("" for that of the
    FlyteWorkflows).
    """

    plugin: AttemptObserver
    obj: KubeObject
    client: Client
    cluster: str = ""

    @property
    def metadata(self) -> ObjectMeta:
        return self.obj.metadata

    @property
    def is_alive(self) -> bool:
        return self.plugin.is_alive(self.obj)

    @property
    def has_ended(self) -> bool:
        return self.plugin.has_ended(self.obj)

    @property
    def has_succeeded(self) -> bool:
        if not self.has_ended:
            return False
        seen = self.plugin.observe(self.obj, 0)
        return seen is not None and seen.phase is AttemptPhase.SUCCEEDED


class AttemptResources:
    """Caches of resources with an execution's label, indexed by owner uid; see the module's text."""

    def __init__(
        self,
        client: Client,
        namespace: str | None,
        plugins: Plugins,
        settings: InformerOptions,
        selector: str = EXECUTION_LABEL,
        cluster: str = "",
        keyspace: Keyspace | None = None,
        workflows: AnyInformer[FlyteWorkflow] | None = None,
    ) -> None:
        """`keyspace`: how the resources are divided into shards, of which those that are opened are cached; None: all
        are cached. `workflows`: the informer of FlyteWorkflows, in whose cluster executions that nodes start are; it is
        run elsewhere.
        """
        self._workflows = workflows
        self._selector = selector
        self._settings = settings
        self._keyspace = keyspace
        self._cluster = cluster
        self._client = client
        self._namespace = namespace
        self.informers: Mapping[TaskPlugin, AnyInformer[Any]] = {
            plugin: self._informer(plugin.resource) for plugin in plugins
        }

    def _informer(self, resource: Resource[Any]) -> AnyInformer[Any]:
        indexes: Mapping[str, IndexFunction[Any]] = {_OWNER_INDEX: owner_uids}

        def part(chosen: Selection, indexes: Mapping[str, IndexFunction[Any]] | None = None) -> Informer[Any]:
            return Informer(
                self._client,
                resource,
                namespace=self._namespace,
                label_selector=",".join(filter(None, (self._selector, chosen.label_selector))),
                indexes=indexes,
                settings=self._settings,
            )

        if self._keyspace is None:
            return part(Selection(), indexes)
        return ShardedInformer(resource, part, self._keyspace.selection, indexes=indexes)

    async def open(self, shard: int, deadline: float) -> None:
        """Cache a shard's resources. Raises Unavailable if pods cannot be listed; other plugins are logged."""
        for plugin, informer in self._sharded():
            if plugin is POD:
                await informer.open(shard, deadline)
            else:
                await self._synced(plugin, await informer.begin(shard), deadline)

    async def begin(self, shard: int) -> Informer[Pod]:
        """Cache a shard's resources as soon as they can be listed; returns the informer of its pods. Awaits nothing."""
        begun = {plugin: await informer.begin(shard) for plugin, informer in self._sharded()}
        return begun[POD]

    def keys_of(self, shard: int) -> list[str]:
        """Return the keys of a shard's resources, `namespace/name`."""
        return [key for _, informer in self._sharded() for key in informer.keys_of(shard)]

    async def close(self, shard: int) -> None:
        """Cache a shard's resources no more."""
        for _, informer in self._sharded():
            await informer.close(shard)

    def _sharded(self) -> Iterator[tuple[TaskPlugin, ShardedInformer[Any]]]:
        for plugin, informer in self.informers.items():
            assert isinstance(informer, ShardedInformer)
            yield plugin, informer

    @property
    def pods(self) -> AnyInformer[Pod]:
        return self.informers[POD]

    @property
    def others(self) -> Sequence[AnyInformer[Any]]:
        """Informers of plugins other than the pod."""
        return [informer for plugin, informer in self.informers.items() if plugin is not POD]

    def by_kind(self) -> Mapping[str, AnyInformer[Any]]:
        """Return the informers by kind, for metrics; the key of a second one of a kind names a task type as well."""
        found: dict[str, AnyInformer[Any]] = {}
        for plugin, informer in self.informers.items():
            kind = informer.resource.kind
            found[kind if kind not in found else f"{kind} of {min(plugin.task_types)}"] = informer
        return found

    def kinds(self) -> Mapping[AttemptObserver, Kind]:
        """Return the kinds that executors need."""
        kinds: dict[AttemptObserver, Kind] = {
            plugin: Kind.of(informer.resource, informer.store) for plugin, informer in self.informers.items()
        }
        if self._workflows is not None:
            kinds[CHILD] = Kind.of(CHILD_WORKFLOWS, self._workflows.store)
        return kinds

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Run the informers until the block is left."""
        async with AsyncExitStack() as stack:
            for informer in self.informers.values():
                await stack.enter_async_context(informer)
            yield

    async def wait_for_sync(self, deadline: float) -> None:
        """Wait until the caches are synced, up to `deadline` seconds. Raises Unavailable if that of pods is not; other
        plugins are logged.
        """
        await self.pods.wait_for_sync(deadline)
        others = [(plugin, informer) for plugin, informer in self.informers.items() if plugin is not POD]
        if others:
            await asyncio.gather(*(self._synced(plugin, informer, deadline) for plugin, informer in others))

    async def _synced(self, plugin: TaskPlugin, informer: AnyInformer[Any], deadline: float) -> None:
        resource = informer.resource
        try:
            await self._client.list(resource.metadata_only(), self._namespace, limit=1)
            await informer.wait_for_sync(deadline)
        except PropellerError as error:
            _log.error("tasks of type %s wait: %s", ", ".join(sorted(plugin.task_types)), error)

    def of(self, uid: str) -> Sequence[AttemptResource]:
        """Return the resources of the workflow with that uid."""
        found = [
            AttemptResource(plugin, obj, self._client, self._cluster)
            for plugin, informer in self.informers.items()
            for obj in informer.store.by_index(_OWNER_INDEX, uid)
        ]
        if self._workflows is not None:
            children = self._workflows.store.by_index(PARENT_INDEX, uid)
            found += [AttemptResource(CHILD, as_child(child), self._client, self._cluster) for child in children]
        return found
