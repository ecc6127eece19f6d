"""Detect whether a program has left anything in its process that the next program would notice.

Part of the forking server (`_zygote.py`), which imports it by its bare name: it uses nothing of propeller, and runs on
Python 3.9.

Guarantees
    Checked are threads, child processes, open files, signal handlers and timers, exit handlers, the interpreter's own
    settings, workflows that flytekit has made, and every object reachable from the names of the project's modules. An
    object that cannot be checked counts as left.
Caveats
    Settings of libraries (`pandas.set_option`) are not seen. Libraries whose purpose is state, such as torch's
    generators and pyplot's figures, count as left as soon as they are loaded.
"""

# pathlib would be one more import in every program; atexit and logging do not expose their content.
# ruff: noqa: PTH115, PTH118, PTH120, PTH208, SLF001

from __future__ import annotations

import atexit
import builtins
import collections
import enum
import functools
import gc
import locale
import logging
import os
import resource
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterable
from typing import Any

MAX_OBJECTS = 2_000
"""Objects that names of the project's modules may lead to: looking at so many takes a millisecond."""

_STATEFUL = frozenset({"jax", "matplotlib.pyplot", "pyspark", "ray", "tensorflow", "torch"})

_OWN_THREADS = (" : loop-runner", "fsspecIO")
"""Ends of names of threads that flytekit and fsspec keep for all that follows."""

_OWN_DESCRIPTORS = 8
"""Pipes, sockets and pollers of those threads."""

_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
)

_PLAIN = (
    *(bool, int, float, complex, str, bytes, range, slice, type(None), type(Ellipsis), type(NotImplemented)),
    *(types.BuiltinFunctionType, types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType),
    *(types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.ModuleType, types.CodeType, logging.Logger),
    type(vars(collections.namedtuple("_Pair", "first"))["first"]),  # gets a field of a named tuple
)
"""Types of objects that do not change, or are not the project's."""

_PLAIN_MODULES = frozenset(
    {
        "_abc",
        "_collections",
        "dataclasses",
        "datetime",
        "decimal",
        "fractions",
        "pathlib",
        "re",
        "types",
        "typing",
        "typing_extensions",
        "uuid",
    }
)
"""Modules of types whose objects do not change."""

_LIBRARIES = ("flytekit", "flyteidl", "dataclasses_json", "mashumaro", "marshmallow", "pydantic", "pydantic_core")
"""Packages whose objects are flytekit's own business: tasks, workflows, types."""


_Cached = type(functools.lru_cache(len))


class Opaque(Exception):
    """There is something that cannot be looked at."""


class Objects:
    """A record of the objects reachable from the names of the project's modules: those that are not installed, and
    the package of `program`, the module of the programs, wherever that is. Raises Opaque.
    """

    def __init__(self, program: str) -> None:
        self._loaded = frozenset(sys.modules)
        self._package = program.partition(".")[0]
        self._modules = _own_modules(self._loaded, self._package)
        self._objects = _reached(self._modules)

    def changed(self) -> str:
        """Return what has changed; empty if nothing."""
        if any(sys.modules.get(name) is not module for name, module in self._modules.items()):
            return "a module of the project"
        if new := _own_modules(sys.modules.keys() - self._loaded, self._package):
            return f"module {next(iter(new))}"
        try:
            now = _reached(self._modules)
        except Opaque as why:
            return str(why)
        return "" if _same(self._objects, now) else "something in a module of the project"


class Traces:
    """A record of what a program could change: `left` returns what has changed since."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._process = _process()
        self._files = _files()

    def left(self) -> str:
        """Return what the program has left; empty if nothing."""
        threads = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
        if others := [name for name in threads if not name.endswith(_OWN_THREADS)]:
            return f"thread {others[0]}"
        if _has_children():
            return "a child process"
        paths, others_open = _files()
        if paths - self._files[0] or others_open > self._files[1] + _OWN_DESCRIPTORS:
            return "an open file"
        now = _process()
        if changed := [name for name, before in self._process.items() if now[name] != before]:
            return changed[0]
        if any(name in sys.modules for name in _STATEFUL):
            return "a library with a state of its own"
        return self._objects.changed()


def _process() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "signal handlers": [signal.getsignal(number) for number in range(1, 32)],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "a timer": [signal.getitimer(which)[0] for which in (signal.ITIMER_REAL, signal.ITIMER_PROF)],
        "an exit handler": atexit._ncallbacks() - _runners(),
        "hooks": [sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile(), threading.excepthook],
        "streams": [sys.stdin, sys.stdout, sys.stderr, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
        "importers": [*sys.meta_path, *sys.path_hooks],
        "names of builtins": {name: id(value) for name, value in vars(builtins).items() if name != "_"},
        "filters of warnings": list(warnings.filters),
        "logging": [root.level, logging.root.manager.disable, *root.handlers],
        "a setting": [
            *(sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), locale.setlocale(locale.LC_ALL)),
        ],
        "a workflow": _workflows(),
        "limits": [*map(resource.getrlimit, _LIMITS), os.getpriority(os.PRIO_PROCESS, 0), _umask()],
    }


def _runners() -> int:
    """Threads that flytekit runs coroutines in, each of which has an exit handler."""
    asyn = sys.modules.get("flytekit.utils.asyn")
    return 0 if asyn is None else len(asyn.loop_manager._runner_map)


def _workflows() -> int:
    """Workflows and launch plans that flytekit has made. A dynamic task keeps the workflow of its first run, and launch
    plans have to be what they were before: neither is for another run.
    """
    context = sys.modules.get("flytekit.core.context_manager")
    task = getattr(sys.modules.get("flytekit.core.base_task"), "Task", None)
    if context is None or task is None:
        return 0
    return sum(not isinstance(entity, task) for entity in context.FlyteEntities.entities)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _files() -> tuple[set[str], int]:
    """Paths of open files, and how many other descriptors there are."""
    paths, others = set(), 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(os.path.join("/proc/self/fd", name))
        except OSError:
            continue  # that of the directory
        if target.startswith("/") and int(name) > 2:
            paths.add(target)
        else:
            others += 1
    return paths, others


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _own_modules(names: Iterable[str], package: str) -> dict[str, types.ModuleType]:
    """Return the loaded modules of these names that are not installed, or belong to the package."""
    found = {}
    for name in names:
        module = sys.modules.get(name)
        path = vars(module).get("__file__") if isinstance(module, types.ModuleType) else None
        if module is None or not path or name == "__main__":
            continue
        top = name.partition(".")[0]
        if not _is_installed(path) or (top == package and top not in _LIBRARIES):
            found[name] = module
    return found


def _is_installed(path: str) -> bool:
    return "-packages" in path or path.startswith((os.path.join(sys.base_prefix, "lib"), os.path.dirname(__file__)))


def _reached(modules: dict[str, types.ModuleType]) -> dict[int, tuple[Any, tuple[Any, ...]]]:
    """Return, by id, each object reachable from the modules' names, and its content. Raises Opaque."""
    own = frozenset(modules)
    found: dict[int, tuple[Any, tuple[Any, ...]]] = {}
    todo: list[Any] = []
    for module in modules.values():
        names = {key: value for key, value in vars(module).items() if not key.startswith("__")}
        found[id(module)] = module, (*names, *names.values())
        todo += names.values()
    while todo:
        value = todo.pop()
        if isinstance(value, _PLAIN) or id(value) in found:
            continue
        if len(found) >= MAX_OBJECTS:
            raise Opaque("more objects than can be looked at")
        held = tuple(_held(value, own))
        found[id(value)] = value, held
        todo += held
    return found


def _held(value: Any, own: frozenset[str]) -> Iterable[Any]:
    """Return the mutable content of an object. Raises Opaque."""
    kind = type(value)
    if isinstance(value, (list, tuple, collections.deque)):
        return (*value, *_attributes(value))
    if isinstance(value, (set, frozenset)):
        return (*sorted(value, key=id), *_attributes(value))
    if isinstance(value, (dict, types.MappingProxyType)):
        return (*value.keys(), *value.values(), *_attributes(value))
    if isinstance(value, types.FunctionType):
        if value.__module__ not in own:
            return ()
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        return (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells, *vars(value).values())
    if isinstance(value, type):
        return [v for k, v in vars(value).items() if k != "__dict__"] if value.__module__ in own else ()
    if isinstance(value, (classmethod, staticmethod)):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, types.MethodType):
        return (value.__self__, value.__func__)
    if kind is _Cached:
        return tuple(value.cache_info())
    if kind.__module__ in _PLAIN_MODULES:
        return ()
    if kind.__module__.partition(".")[0] in _LIBRARIES:
        return (getattr(value, "__dict__", {}).get("_task_function"),)
    if kind.__module__ in own or isinstance(value, enum.Enum):
        return _attributes(value)
    raise Opaque(f"an object of type {kind.__module__}.{kind.__qualname__}")


def _attributes(value: Any) -> tuple[Any, ...]:
    slots = [name for kind in type(value).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    return (
        (*vars(value).values(),) if hasattr(value, "__dict__") else tuple(getattr(value, name, None) for name in slots)
    )


def _names(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell.cell_contents
    except ValueError:
        return False


def _same(before: dict[int, tuple[Any, tuple[Any, ...]]], now: dict[int, tuple[Any, tuple[Any, ...]]]) -> bool:
    """Whether each object holds the very objects that it held."""
    return before.keys() == now.keys() and all(
        len(held) == len(now[key][1]) and all(map(_is_same, held, now[key][1])) for key, (_, held) in before.items()
    )


def _is_same(before: Any, now: Any) -> bool:
    return before is now or (isinstance(before, (int, str)) and type(before) is type(now) and bool(before == now))
