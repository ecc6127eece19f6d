"""Whether a task's outputs are cached, and what an execution knows of the cache: Flyte's catalog status of each node.

Guarantees
    A task without caching costs a look into a dict.
    A hit is a decision: `CacheRecord.builds_on` says which launches have to wait until a status has it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec
from flyteidl.core import tasks_pb2

from propeller.errors import Invalid

if TYPE_CHECKING:
    from propeller.workflow._execution import Frame, NodeView


class CacheStatus(enum.IntEnum):
    """Numbers are Flyte's (flyteidl.core.CatalogCacheStatus)."""

    DISABLED = 0
    MISS = 1
    HIT = 2
    POPULATED = 3
    LOOKUP_FAILURE = 4
    PUT_FAILURE = 5
    SKIPPED = 6
    EVICTED = 7


class CacheOverride(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What a node says about the cache instead of its task (flyteidl.core.NodeMetadata's oneofs)."""

    cacheable: bool | None = None
    cache_version: str | None = None
    cache_serializable: bool | None = None


class Caching(msgspec.Struct, frozen=True):
    """How outputs of a task are cached: under a version, without the `ignored` inputs; `version` "" if they are not.

    With `serialize`, of several executions that would compute the same, one does and the others wait for it.
    """

    version: str = ""
    serialize: bool = False
    ignored: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.version)


NOT_CACHED = Caching()

_INLINE_TYPES = frozenset({"echo"})
"""Types of tasks that run without a resource: computing them costs less than a look into the cache."""


def _of_template(task: tasks_pb2.TaskTemplate) -> Caching:
    if not _has_outputs(task):
        return NOT_CACHED
    metadata = task.metadata
    version, ignored = metadata.discovery_version.strip(), tuple(metadata.cache_ignore_input_vars)
    return Caching(version, metadata.cache_serializable, ignored)


def _has_outputs(task: tasks_pb2.TaskTemplate) -> bool:
    """Whether there is anything to cache. A task without outputs runs for its side effects (as in FlytePropeller)."""
    return bool(task.interface.outputs.variables) and task.type not in _INLINE_TYPES


def caching_of(node: NodeView) -> Caching:
    """How the outputs of a task node are cached: its own override counts, for an item also its map task's, then the
    task. False if they are not: also without a version, and if the task cannot be read, which its launch reports.
    """
    plan, key = node.graph.plan, node.spec.task
    if node.spec.workflow is not None:
        return NOT_CACHED  # the execution of a launch plan caches its tasks
    override = node.spec.cache
    if override is None and node.frame.items and node.frame.parent >= 0:
        override = node.execution.view(node.frame.parent).spec.cache
    try:
        if override is None:
            return plan.of_task(key, _declared)
        return _overridden(plan.of_task(key, _of_template), plan.of_task(key, _declared), override)
    except Invalid:
        return NOT_CACHED


def _declared(task: tasks_pb2.TaskTemplate) -> Caching:
    return _of_template(task) if task.metadata.discoverable else NOT_CACHED


def _overridden(task: Caching, declared: Caching, override: CacheOverride) -> Caching:
    if override.cacheable is False or (override.cacheable is None and not declared):
        return NOT_CACHED
    version = task.version if override.cache_version is None else override.cache_version.strip()
    serialize = task.serialize if override.cache_serializable is None else override.cache_serializable
    return Caching(version, serialize, task.ignored)


class CacheRecord:
    """The cache's status of each node of an execution, one byte each, and the hits that no status holds yet."""

    __slots__ = ("_unwritten", "statuses")

    def __init__(self) -> None:
        self.statuses = bytearray()
        """By node; shorter than the nodes are if the last ones have none."""
        self._unwritten: dict[int, int] = {}
        """How many hits there were so far, by number of the frame."""

    def of(self, node: int) -> CacheStatus:
        """Return a node's status."""
        return CacheStatus(self.statuses[node]) if node < len(self.statuses) else CacheStatus.DISABLED

    def record(self, frame: Frame, node: int, status: CacheStatus) -> None:
        """Record a node's status; a hit is unwritten from now on."""
        if node >= len(self.statuses):
            self.statuses.extend(bytes(node + 1 - len(self.statuses)))
        self.statuses[node] = status
        if status is CacheStatus.HIT:
            self._unwritten[frame.number] = self._unwritten.get(frame.number, 0) + 1

    def builds_on(self, frame: Frame) -> bool:
        """Whether what is launched in this frame may build on a hit that no status holds. Items of one map task do not
        build on each other.
        """
        if not self._unwritten:
            return False
        return not frame.items or self._unwritten.keys() != {frame.number}

    def unwritten(self) -> dict[int, int]:
        """Return what a status that is taken now will hold; for `written`."""
        return dict(self._unwritten)

    def written(self, held: dict[int, int]) -> None:
        """A status that holds these hits is written."""
        for frame, hits in held.items():
            if self._unwritten.get(frame) == hits:
                del self._unwritten[frame]
