"""Select the plugin of a task: installed ones, by entry points of the group `propeller.tasks`, otherwise the pod.

An entry point's name is the task type, so that the type is known even if its plugin cannot be imported.

Guarantees
    Loading never raises. A plugin that cannot be used is logged once, with the cause; tasks of its types fail with kind
    SYSTEM and that message, and nothing else is affected. If two plugins declare a type, neither runs it.
    Plugins cannot take over `OWN_TYPES`, such as python-task.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, NamedTuple

import msgspec

from propeller.config import OperatorName
from propeller.handlers.plugins._api import ENTRY_POINTS, AttemptObserver, PluginFailed, TaskPlugin
from propeller.handlers.plugins._child import CHILD
from propeller.handlers.plugins._guard import GuardedPlugin
from propeller.handlers.plugins._remote_plugin import RemotePlugin
from propeller.handlers.plugins.pod import POD
from propeller.kube import KubeObject, Resource
from propeller.text import headline
from propeller.workflow import Execution, NodeView

_log = logging.getLogger(__name__)

OWN_TYPES = frozenset({*POD.task_types, "echo"})


class Plugins:
    """See the module's text. `broken` has the task types whose plugin cannot be used, with the cause; `remote` are
    plugins whose attempts are jobs of remote services.
    """

    def __init__(
        self,
        plugins: Iterable[TaskPlugin] = (),
        broken: Mapping[str, str] = {},
        remote: Iterable[RemotePlugin] = (),
    ) -> None:
        self._by_type = {task_type: plugin for plugin in plugins for task_type in plugin.task_types}
        self._broken = dict(broken)
        self.remote: Mapping[str, RemotePlugin] = {name: plugin for plugin in remote for name in plugin.task_types}
        self._only_pods = not self._by_type and not self._broken

    def observer_of(self, node: NodeView) -> AttemptObserver:
        """Return what reads the resources of a node's attempts: the plugin of its task, or the observer of executions.
        Raises PluginFailed if the plugin cannot be used.
        """
        return CHILD if node.spec.workflow is not None else self.of(node)

    def of(self, node: NodeView) -> TaskPlugin:
        """Return the plugin of a node's task. Raises PluginFailed if it cannot be used."""
        if self._only_pods:
            return POD
        task = node.graph.plan.task(node.spec.task)
        if (why := self._broken.get(task.type)) is not None:
            raise PluginFailed(f"task {task.id.name} of type {task.type!r}: {why}")
        return self._by_type.get(task.type, POD)

    def runs(self, plugin: AttemptObserver, execution: Execution, node: int) -> bool:
        """Whether the resources that it reads are those of a node. Another plugin's may have the same name."""
        frame = execution.frame_of(node)
        spec = frame.graph.nodes[node - frame.base]
        if spec.workflow is not None or plugin is CHILD:
            return plugin is CHILD and spec.workflow is not None
        if self._only_pods:
            return True
        task_type = frame.graph.plan.task(spec.task).type
        return self._by_type.get(task_type, POD) is plugin and task_type not in self._broken

    def is_pod(self, task_type: str) -> bool:
        """Whether tasks of that type run as pods."""
        return task_type not in self._by_type and task_type not in self._broken and task_type not in self.remote

    def is_free(self, task_type: str) -> bool:
        """Whether a connector may run tasks of that type: nothing else does but pods, and it is not propeller's own."""
        return task_type not in OWN_TYPES and self.is_pod(task_type)

    def __iter__(self) -> Iterator[TaskPlugin]:
        """Iterate over the plugins of tasks, the pod first."""
        return iter(dict.fromkeys((POD, *self._by_type.values())))


@functools.cache
def installed_plugins(operators: tuple[OperatorName, ...] = ()) -> Plugins:
    """Return the plugins of this interpreter's packages, and propeller's own of these `operators` (the setting
    `operators.enabled`); loads them once.
    """
    return load_plugins(_entry_points(distributions()), operators)


def _entry_points(packages: Iterable[Distribution]) -> Iterator[EntryPoint]:
    """Find the entry points of plugins. A package with damaged metadata has none; of two packages with the same name
    the first counts, as it does for imports.
    """
    found: list[tuple[Distribution, Collection[EntryPoint]]] = []
    for package in packages:
        with _damage_said():
            found.append((package, package.entry_points.select(group=ENTRY_POINTS)))
    if not any(points for _, points in found):
        return  # names are in other files: reading those of all packages took a tenth of a second at start-up
    seen = set()
    for package, points in found:
        with _damage_said():
            if (name := package.name) not in seen:
                seen.add(name)
                yield from points


@contextmanager
def _damage_said() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - importlib.metadata lets out whatever its parsers raise
        _log.error("task plugins of a package cannot be found, as its metadata is damaged: %s", _said(error))


class _Found(NamedTuple):
    name: str
    plugin: TaskPlugin | RemotePlugin
    types: frozenset[str]
    resource: Resource[Any] | None
    """None for one of a remote service."""
    pod_owners: tuple[Resource[Any], ...] = ()


def load_plugins(points: Iterable[EntryPoint], operators: tuple[OperatorName, ...] = ()) -> Plugins:
    """Load plugins by their entry points, and propeller's own of these `operators`; see the module's text."""
    broken: dict[str, str] = {}
    loaded: dict[int, _Found] = {}
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        name = _name_of(point)
        try:
            plugin = point.load()
            is_remote = isinstance(plugin, RemotePlugin)
            types = _types_of(plugin, point.name, _REMOTE_MEMBERS if is_remote else _MEMBERS)
            of = (None, ()) if is_remote else (_resource_of(plugin), _pod_owners_of(plugin))
            found = _Found(name, plugin, types, *of)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - importing runs whatever the package does
            _blame(broken, point.name, f"plugin {name} cannot be used: {_said(error)}")
        else:
            loaded.setdefault(id(plugin), found)
    loaded |= {id(found.plugin): found for found in _of_operators(operators)}
    by_type: dict[str, list[_Found]] = {}
    for found in loaded.values():
        for task_type in found.types:
            by_type.setdefault(task_type, []).append(found)
    for task_type, declared in by_type.items():
        if len(declared) > 1:
            names = " and ".join(one.name for one in declared)
            _blame(broken, task_type, f"task type {task_type!r} is declared by plugins {names}: uninstall all but one")
    usable = (
        GuardedPlugin(one.plugin, one.name, one.types, one.resource, one.pod_owners)
        for one in loaded.values()
        if one.resource is not None and not isinstance(one.plugin, RemotePlugin)
    )
    return Plugins(usable, broken, [one.plugin for one in loaded.values() if isinstance(one.plugin, RemotePlugin)])


def _of_operators(enabled: tuple[OperatorName, ...]) -> Iterator[_Found]:
    if enabled:  # few controllers need them in memory
        from propeller.handlers.plugins.operators import OPERATORS

        for name in enabled:
            plugin = OPERATORS[name]
            yield _Found(
                "of propeller's operators.enabled", plugin, plugin.task_types, plugin.resource, plugin.pod_owners
            )


def _name_of(point: EntryPoint) -> str:
    """Format an entry point and its package for messages."""
    package = f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
    return f"{point.name} ({point.value}{package})"


def _types_of(plugin: Any, task_type: str, members: tuple[str, ...]) -> frozenset[str]:
    """Return the task types of a plugin whose entry point is named `task_type`. Raises PluginFailed with the cause."""
    if isinstance(plugin, type):
        raise PluginFailed("it is no TaskPlugin, but a class: name an object of it")
    if members is _REMOTE_MEMBERS:
        if blocks := [name for name in members[1:] if not inspect.iscoroutinefunction(getattr(plugin, name))]:
            raise PluginFailed(f"its {', '.join(blocks)} must be async: methods of a RemotePlugin await a service")
    elif lacks := [name for name in _MEMBERS if not hasattr(plugin, name)]:
        raise PluginFailed(f"it is no TaskPlugin, but a {type(plugin).__name__} without {', '.join(lacks)}")
    elif waits := [name for name in (*_MEMBERS, "pods_of") if inspect.iscoroutinefunction(getattr(plugin, name, None))]:
        raise PluginFailed(f"its {', '.join(waits)} may not be async: methods only read and describe")
    types: Any = plugin.task_types
    if isinstance(types, str) or not isinstance(types, Collection) or not all(_is_type(one) for one in types):
        raise PluginFailed("task_types must be a collection of task types, as texts")
    if task_type not in types:
        raise PluginFailed(f"its entry point is named {task_type!r}, which is not among its task_types {sorted(types)}")
    if own := sorted(OWN_TYPES.intersection(types)):
        raise PluginFailed(f"its task_types name {own}, which propeller runs itself")
    return frozenset(types)


def _is_type(name: Any) -> bool:
    return isinstance(name, str) and bool(name)


def _resource_of(plugin: TaskPlugin) -> Resource[Any]:
    resource: object = plugin.resource  # whatever another package has put there
    if resource is None:
        raise PluginFailed("it makes no resource: a plugin of a remote service is a RemotePlugin")
    if not isinstance(resource, Resource):
        raise PluginFailed(f"its resource must be a propeller.kube.Resource, and is a {type(resource).__name__}")
    if not resource.namespaced:
        raise PluginFailed(f"its resource {resource.plural} is cluster-wide: a workflow can own only its namespace's")
    type_: object = resource.type  # a generic alias, such as that of JSON, is no class
    if not (isinstance(type_, type) and issubclass(type_, KubeObject)):
        raise PluginFailed(f"the type of its resource must be a KubeObject, and is {getattr(type_, '__name__', type_)}")
    msgspec.json.Decoder(resource.type)  # raises what its fields' types have wrong
    return resource


def _pod_owners_of(plugin: TaskPlugin) -> tuple[Resource[Any], ...]:
    """Return the kinds between the resource of a plugin and its pods; a plugin need not have the attribute."""
    owners: object = getattr(plugin, "pod_owners", ())
    if not isinstance(owners, Collection) or not all(isinstance(one, Resource) and one.namespaced for one in owners):
        raise PluginFailed("its pod_owners must be propeller.kube.Resources of kinds that have namespaces")
    return tuple(one.metadata_only() for one in owners)


_MEMBERS = ("task_types", "resource", "build", "observe", "missing", "is_alive", "has_ended", "grace_of")
"""What a plugin has to have. It gets these from `TaskPlugin` if it derives from it."""
_REMOTE_MEMBERS = ("task_types", "create", "get", "delete")


def _blame(broken: dict[str, str], task_type: str, why: str) -> None:
    """Log the cause, and have tasks of this type fail with it unless the type is one of `OWN_TYPES`."""
    _log.error("%s", why)
    if task_type not in OWN_TYPES:
        broken[task_type] = why


def _said(error: BaseException) -> str:
    text = str(error) if isinstance(error, PluginFailed) else f"{type(error).__name__}: {error}"
    return headline(text, 1000)
