"""`propeller cache`: what is cached, where it comes from, why a node's outputs were not, and how to be rid of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.catalog import (
    DATABASES,
    MAX_LISTED,
    MAX_READ,
    Backend,
    Paths,
    evict,
    explain,
    key_of,
    list_paths,
    read_entries,
    store_of,
    task_path,
)
from propeller.catalog import Entry as CacheEntry
from propeller.catalog import Explanation as Explained
from propeller.cli._connecting import connected, require_workflows
from propeller.cli._event_loop import run
from propeller.cli._executions import get_execution, loader_of, node_of
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.clock import SYSTEM_CLOCK
from propeller.config import CatalogOptions, Settings
from propeller.controller import WORKFLOWS
from propeller.errors import Invalid
from propeller.handlers import Inputs
from propeller.storage import Storage
from propeller.text import one_line
from propeller.workflow import NodeKind, caching_of

_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_AGE = re.compile(r"(\d{1,9})([mhd])", re.ASCII)


@asynccontextmanager
async def _opened(config: str | None, prefix: str) -> AsyncIterator[tuple[Settings, Storage, Backend]]:
    settings = load_settings(config)
    if prefix:
        settings = msgspec.structs.replace(settings, catalog=_at(prefix, settings.catalog))
    async with Storage(settings.storage, trusting=True) as storage:
        store = store_of(storage, settings.catalog)
        try:
            yield settings, storage, store
        finally:
            await store.close()


def _at(uri: str, options: CatalogOptions) -> CatalogOptions:
    """The options with a place that a command names. Raises Invalid."""
    if uri.partition("://")[0] not in DATABASES:
        return msgspec.structs.replace(options, prefix=uri, backend="")
    try:
        return msgspec.structs.replace(options, backend=uri)
    except ValueError as error:
        raise Invalid(f"--prefix: {error}") from None


def list_entries(*, task: str, project: str, domain: str, prefix: str, config: str | None, output: str) -> None:
    """List cached tasks, or the entries of TASK."""
    run(_list(task, project, domain, prefix, config, as_json=output == "json"))


async def _list(task: str, project: str, domain: str, prefix: str, config: str | None, *, as_json: bool) -> None:
    async with _opened(config, prefix) as (_, _, store):
        if not task:
            _print_counts(await list_paths(store, "", MAX_LISTED), as_json=as_json)
            return
        paths, more = await list_paths(store, f"{task_path(project, domain, task)}/", MAX_LISTED)
        entries = await read_entries(store, paths)
    entries.sort(key=lambda one: -one.origin.created if one.origin else 0.0)
    if as_json:
        say_json({"entries": [_entry_json(entry) for entry in entries], "more": more})
        return
    for entry in entries:
        say(_entry_text(entry))
    if not entries:
        say(f"nothing of {project}/{domain}/{task} is cached")
    if more:
        say(f"these are of the first {MAX_LISTED}; there are others", to_stderr=True)


def _print_counts(paths: Paths, *, as_json: bool) -> None:
    counts: dict[str, int] = {}
    for path in paths.entries:
        task = "/".join(path.split("/")[:3])
        counts[task] = counts.get(task, 0) + 1
    if as_json:
        tasks = [{"task": task, "entries": count} for task, count in sorted(counts.items())]
        say_json({"tasks": tasks, "more": paths.more})
        return
    for task, count in sorted(counts.items()):
        say(f"{one_line(task)}  {count}")
    if not counts:
        say("nothing is cached")
    if paths.more:
        say(f"these are the first {MAX_LISTED}: name a task to see the others", to_stderr=True)


def _entry_json(entry: CacheEntry) -> dict[str, Any]:
    origin = None
    if entry.origin is not None:  # attempts are counted from 1, as in all that commands print
        origin = msgspec.to_builtins(entry.origin) | {"attempt": entry.origin.attempt + 1}
    return {"path": entry.path, "bytes": entry.bytes, "origin": origin, "problem": entry.problem or None}


def _entry_text(entry: CacheEntry) -> str:
    if entry.origin is None:
        return one_line(f"{entry.path}: {entry.problem}")
    origin = entry.origin
    where = f"{origin.execution} node {origin.node}, attempt {origin.attempt + 1}"
    version = f"version {origin.key.version}"
    return one_line(f"{origin.at}  {version}  {where}, task version {origin.task_version}  {entry.path}")


def remove_entries(
    *,
    task: str,
    project: str,
    domain: str,
    version: str,
    older_than: str,
    dry_run: bool,
    prefix: str,
    config: str | None,
    output: str,
) -> None:
    """Remove the entries of TASK."""
    before = None if not older_than else SYSTEM_CLOCK.now() - _seconds(older_than)
    run(_remove(task, project, domain, version, before, prefix, config, dry_run=dry_run, as_json=output == "json"))


def _seconds(age: str) -> float:
    found = _AGE.fullmatch(age)
    if found is None:
        raise Invalid(f"--older-than {age!r} is no age: write it like 90m, 12h or 30d")
    return int(found[1]) * _SECONDS[found[2]]


async def _remove(
    task: str,
    project: str,
    domain: str,
    version: str,
    before: float | None,
    prefix: str,
    config: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    async with _opened(config, prefix) as (_, _, store):
        is_meant = (lambda entry: _is_meant(entry, version, before)) if version or before is not None else None
        paths, more = await evict(store, f"{task_path(project, domain, task)}/", is_meant, dry_run=dry_run)
    if as_json:
        say_json({"removed": [] if dry_run else paths, "wouldRemove": paths if dry_run else [], "more": more})
        return
    say(f"{len(paths)} entries of {project}/{domain}/{task} {'would be' if dry_run else 'are'} removed")
    if more:
        most = MAX_LISTED if is_meant is None else MAX_READ
        say(f"these are of the first {most}; there are others, which were not looked at", to_stderr=True)


def _is_meant(entry: CacheEntry, version: str, before: float | None) -> bool:
    if entry.origin is None:
        return True  # what cannot be read is of no use
    if version and entry.origin.key.version != version:
        return False
    return before is None or entry.origin.created < before


def explain_node(
    *,
    execution: str,
    node: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    prefix: str,
    config: str | None,
    output: str,
) -> None:
    """Say whether the outputs of a NODE of an EXECUTION are cached, and if not, in what it differs from what is."""
    run(_explain(execution, node, kubeconfig, context, namespace, prefix, config, as_json=output == "json"))


async def _explain(
    name: str,
    node: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    prefix: str,
    config: str | None,
    *,
    as_json: bool,
) -> None:
    async with (
        _opened(config, prefix) as (settings, storage, store),
        connected(kubeconfig, context, settings) as (client, connection),
    ):
        await require_workflows(client, connection)
        workflow = await get_execution(client, WORKFLOWS, name, namespace or connection.namespace)
        loader = loader_of(client, storage, settings)
        view = node_of(await loader.show(workflow, SYSTEM_CLOCK.now()), node)
        if view.spec.kind is not NodeKind.TASK:
            raise Invalid(f"{view.log_name} is of kind {view.spec.kind}, and only tasks are cached: name one of those")
        caching = caching_of(view)
        if not caching:
            raise Invalid(f"{view.log_name} is not cached: its task has no cache=True, no outputs, or is overridden")
        template = view.graph.plan.task(view.spec.task)
        inputs = await Inputs(storage).peek(view)
        key = await key_of(template, caching, inputs, storage.settings.max_messages)
        found = await explain(store, key)
        status = view.execution.cache.of(view.number).name
    if as_json:
        nearest = None if found.nearest is None else _entry_json(found.nearest)
        parts = msgspec.to_builtins(found.differences)
        counted = {"hit": found.hit, "status": status, "entries": found.entries}
        say_json({**counted, "path": key.path, "nearest": nearest, "differences": parts})
        return
    say(_explanation_text(found, status))


def _explanation_text(found: Explained, status: str) -> str:
    lines = [f"in its execution: {status}"]
    if found.hit and found.nearest is not None:
        lines += ["cached now:", f"  {_entry_text(found.nearest)}"]
    elif found.nearest is None:
        lines.append(f"not cached: nothing of the task is ({found.entries} entries)")
    else:
        lines += [f"not cached: {found.entries} entries of the task are for something else. The nearest one:"]
        lines += [f"  {_entry_text(found.nearest)}", "differs in:"]
        lines += [f"  {one.part}: {one.here}, there {one.there}" for one in found.differences]
    return "\n".join(lines)
