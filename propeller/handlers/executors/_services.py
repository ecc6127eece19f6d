"""What executors work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from propeller.config import ControllerOptions, EffectOptions
from propeller.handlers.executors._child_closures import ChildClosures
from propeller.handlers.executors._gates import Gates
from propeller.handlers.executors._inputs import Inputs
from propeller.handlers.executors._jobs import RemoteJobs
from propeller.handlers.executors._launch_plans import LaunchPlans
from propeller.handlers.executors._pressure import LaunchPressure
from propeller.handlers.executors._quotas import LaunchQuotas
from propeller.handlers.executors._task_cache import TaskCache
from propeller.handlers.executors._tokens import LaunchTokens
from propeller.handlers.executors._windows import Windows
from propeller.handlers.plugins import AttemptObserver, Marks, Plugins, PodSettings
from propeller.kube import Client, ObjectMeta, Resource
from propeller.storage import Storage
from propeller.workflow import NodeView


class ObjectCache(Protocol):
    """An informer's store: objects by `namespace/name`, or None."""

    def get(self, key: str, /) -> Any: ...


class _Unread(msgspec.Struct, frozen=True):
    """The answer to a create: the object's events tell all of it."""


class Kind(msgspec.Struct, frozen=True):
    """The resource kind of a plugin, with its informer's cache."""

    resource: Resource[Any]
    cache: ObjectCache
    created: Resource[Any]
    """The same kind, for the answer to a create."""

    @classmethod
    def of(cls, resource: Resource[Any], cache: ObjectCache) -> Kind:
        return cls(resource, cache, resource.metadata_only().typed(_Unread))


class Cluster(msgspec.Struct, frozen=True):
    """The cluster of an attempt, as executors work with it."""

    client: Client
    kinds: Mapping[AttemptObserver, Kind]
    """By what observes them: the plugins of `Services.plugins`, and the observer of executions."""
    windows: Windows | None = None
    """None if a namespace's refusals do not slow down its launches."""
    quotas: LaunchQuotas | None = None
    """None if quotas are not followed."""
    pressure: LaunchPressure | None = None
    """None if launches do not yield to an API server under load."""
    marks: Marks | None = None
    """What its resources are marked with; None if they have owner references."""
    pod_settings: PodSettings | None = None
    """Those of its pods; None: those of `Services`."""


def _no_workflow(key: str) -> ObjectMeta | None:
    return None


class Services(msgspec.Struct, frozen=True):
    """One set for all executions of a controller."""

    cluster_of: Callable[[NodeView, int], Cluster]
    """The cluster in which an attempt of a node runs, or is to run. Raises Unavailable."""
    plugins: Plugins
    storage: Storage
    inputs: Inputs
    pod_settings: PodSettings
    gates: Gates
    launch_plans: LaunchPlans
    closures: ChildClosures
    effects: EffectOptions = EffectOptions()
    """How they are tried again."""
    tokens: LaunchTokens | None = None
    """None if nothing limits what runs."""
    cache: TaskCache | None = None
    """None if outputs are not cached."""
    workflow: Callable[[str], ObjectMeta | None] = _no_workflow
    """The metadata of the FlyteWorkflow of a key, `namespace/name`, if the cache has it."""
    nesting_limit: int = ControllerOptions().nesting_limit
    """Executions that may be around one that a node starts."""
    jobs: RemoteJobs | None = None
    """None if no task runs remotely."""
