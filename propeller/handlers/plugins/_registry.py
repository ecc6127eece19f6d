"""Which plugin runs a task: those that are installed, by entry points of the group `propeller.tasks`, else the pod.

An entry point's name is the task type, so that a type is known though its plugin cannot be imported.

Guarantees
    Loading never raises. A plugin that cannot be used is logged once, with what is wrong; tasks of its types fail as
    the system's with that text, and nothing else suffers. If two plugins declare one type, neither runs it.
    What propeller runs itself (`OWN_TYPES`) stays its own: a plugin cannot take python-task away.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, NamedTuple

import msgspec

from propeller.handlers.plugins._api import ENTRY_POINTS, PluginFailed, TaskPlugin
from propeller.handlers.plugins._guard import GuardedPlugin
from propeller.handlers.plugins.pod import POD
from propeller.kube import KubeObject, Resource
from propeller.text import headline
from propeller.workflow import Execution, NodeView

_log = logging.getLogger(__name__)

OWN_TYPES = frozenset({*POD.task_types, "echo"})


class Plugins:
    """See the module's text. `broken` are the types whose plugin cannot be used, with the reason."""

    def __init__(self, plugins: Iterable[TaskPlugin] = (), broken: Mapping[str, str] = {}) -> None:
        self._by_type = {task_type: plugin for plugin in plugins for task_type in plugin.task_types}
        self._broken = dict(broken)
        self._only_pods = not self._by_type and not self._broken

    def of(self, node: NodeView) -> TaskPlugin:
        """The plugin that runs a task node. Raises PluginFailed if it cannot be used."""
        if self._only_pods:
            return POD
        task = node.graph.plan.task(node.spec.task)
        if (why := self._broken.get(task.type)) is not None:
            raise PluginFailed(f"task {task.id.name} of type {task.type!r}: {why}")
        return self._by_type.get(task.type, POD)

    def runs(self, plugin: TaskPlugin, execution: Execution, node: int) -> bool:
        """Whether this plugin runs a task node: another's resource may have its name."""
        if self._only_pods:
            return True
        view = execution.view(node)
        task_type = view.graph.plan.task(view.spec.task).type
        return self._by_type.get(task_type, POD) is plugin and task_type not in self._broken

    def is_pod(self, task_type: str) -> bool:
        """Whether tasks of that type run as pods."""
        return task_type not in self._by_type and task_type not in self._broken

    def __iter__(self) -> Iterator[TaskPlugin]:
        """Each plugin once, the pod first."""
        return iter(dict.fromkeys((POD, *self._by_type.values())))


@functools.cache
def installed_plugins() -> Plugins:
    """The plugins of this interpreter's packages, loaded once."""
    return load_plugins(_entry_points(distributions()))


def _entry_points(packages: Iterable[Distribution]) -> Iterator[EntryPoint]:
    """Those of our group. A package whose metadata cannot be read has none; of two of one name the first counts, which
    is that which is imported.
    """
    seen = set()
    for package in packages:
        try:
            name, points = package.name, package.entry_points.select(group=ENTRY_POINTS)
        except Exception as error:  # noqa: BLE001 - importlib.metadata lets out whatever its parsers raise
            _log.error("task plugins of a package cannot be found, as its metadata is damaged: %s", _said(error))
            continue
        if name not in seen:
            seen.add(name)
            yield from points


class _Found(NamedTuple):
    name: str
    plugin: TaskPlugin
    types: frozenset[str]
    resource: Resource[Any]


def load_plugins(points: Iterable[EntryPoint]) -> Plugins:
    """Load plugins by their entry points; see the module's text."""
    broken: dict[str, str] = {}
    loaded: dict[int, _Found] = {}
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        name = _name_of(point)
        try:
            plugin = point.load()
            found = _Found(name, plugin, _types_of(plugin, point.name), _resource_of(plugin))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - importing runs whatever the package does
            _blame(broken, point.name, f"plugin {name} cannot be used: {_said(error)}")
        else:
            loaded.setdefault(id(plugin), found)
    by_type: dict[str, list[_Found]] = {}
    for found in loaded.values():
        for task_type in found.types:
            by_type.setdefault(task_type, []).append(found)
    for task_type, declared in by_type.items():
        if len(declared) > 1:
            names = " and ".join(one.name for one in declared)
            _blame(broken, task_type, f"task type {task_type!r} is declared by plugins {names}: uninstall all but one")
    usable = (GuardedPlugin(one.plugin, one.name, one.types, one.resource) for one in loaded.values())
    return Plugins(usable, broken)


def _name_of(point: EntryPoint) -> str:
    """For messages: what the entry point says, and which package has it."""
    package = f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
    return f"{point.name} ({point.value}{package})"


def _types_of(plugin: Any, task_type: str) -> frozenset[str]:
    """The task types of a plugin whose entry point is named `task_type`. Raises PluginFailed with what is wrong."""
    if isinstance(plugin, type):
        raise PluginFailed("it is no TaskPlugin, but a class: name an object of it")
    if not isinstance(plugin, TaskPlugin):
        lacks = ", ".join(name for name in _MEMBERS if not hasattr(plugin, name))
        raise PluginFailed(f"it is no TaskPlugin, but a {type(plugin).__name__} without {lacks}")
    if waits := [name for name in _MEMBERS if inspect.iscoroutinefunction(getattr(plugin, name))]:
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
    resource = plugin.resource
    if resource is None:
        raise PluginFailed("it makes no resource: plugins of remote services are not supported yet")
    if not isinstance(resource, Resource):
        raise PluginFailed(f"its resource must be a propeller.kube.Resource, and is a {type(resource).__name__}")
    if not resource.namespaced:
        raise PluginFailed(f"its resource {resource.plural} is cluster-wide: a workflow can own only its namespace's")
    if not issubclass(resource.type, KubeObject):
        raise PluginFailed(f"the type of its resource must be a KubeObject, and is {resource.type.__name__}")
    msgspec.json.Decoder(resource.type)  # raises what its fields' types have wrong
    return resource


_MEMBERS = ("task_types", "resource", "build", "observe", "missing", "is_alive", "has_ended", "grace_of")


def _blame(broken: dict[str, str], task_type: str, why: str) -> None:
    """Have tasks of this type fail, unless propeller runs them itself."""
    _log.error("%s", why)
    if task_type not in OWN_TYPES:
        broken[task_type] = why


def _said(error: BaseException) -> str:
    text = str(error) if isinstance(error, PluginFailed) else f"{type(error).__name__}: {error}"
    return headline(text, 1000)
