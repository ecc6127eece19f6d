"""`propeller status`: how an execution stands, read from its resource."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.live import Live

from propeller.cli._connecting import connected, require_workflows
from propeller.cli._console import CutLines, can_redraw, console_on, print_fitting
from propeller.cli._event_loop import run
from propeller.cli._executions import get_execution, loader_of, no_execution
from propeller.cli._output import say_json
from propeller.cli._result import error_json, failed_child, failed_pod, outputs_of, print_failure
from propeller.cli._settings import load_settings
from propeller.cli._tree import tree
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.controller import WORKFLOWS, FlyteWorkflow, Loader
from propeller.errors import PropellerError
from propeller.informers import Informer
from propeller.kube import Client
from propeller.status import wait_of
from propeller.storage import Storage
from propeller.workflow import CacheStatus, Execution, NodePhase, WorkflowPhase


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    """How to print."""

    as_json: bool
    full_traceback: bool


def show_status(
    *,
    execution: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    watch: bool,
    output: str,
    full_traceback: bool,
    config: str | None,
) -> None:
    """Show an EXECUTION (the name of its FlyteWorkflow) as a tree of its nodes."""
    form = _Form(as_json=output == "json", full_traceback=full_traceback)
    run(_show(execution, kubeconfig, context, namespace, load_settings(config), form, watch=watch))


async def _show(
    name: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    settings: Settings,
    form: _Form,
    *,
    watch: bool,
) -> None:
    async with (
        connected(kubeconfig, context, settings) as (client, connection),
        Storage(settings.storage, trusting=True) as storage,
    ):
        await require_workflows(client, connection)
        loader = loader_of(client, storage, settings)
        where = namespace or connection.namespace
        if watch:
            await _follow(client, loader, storage, name, where, settings, form)
            return
        workflow = await get_execution(client, WORKFLOWS, name, where)
        await _print(await loader.show(workflow, SYSTEM_CLOCK.now()), storage, form)


async def _follow(
    client: Client, loader: Loader, storage: Storage, name: str, namespace: str, settings: Settings, form: _Form
) -> None:
    """Redraw with each status that is written, or print it as a line of JSON, until one is the last."""
    workflows: Informer[FlyteWorkflow] = Informer(
        client, WORKFLOWS, namespace=namespace, field_selector=f"metadata.name={name}", settings=settings.informers
    )
    async with workflows:
        await workflows.wait_for_sync(settings.client.deadline)
        if not len(workflows.store):
            raise no_execution(name, namespace)
        with _redrawing(form) as redraw:
            async for change in workflows.changes():
                if change.new is None:
                    raise PropellerError(f"execution {name} was deleted")
                execution = await loader.show(change.new, SYSTEM_CLOCK.now())
                if change.new.phase.ended:
                    break
                if form.as_json:
                    await _print(execution, storage, form)
                else:
                    redraw(execution)
        await _print(execution, storage, form)


@contextmanager
def _redrawing(form: _Form) -> Iterator[Callable[[Execution], None]]:
    """Return a function that redraws an execution in place if the terminal allows it; else it prints only the end."""
    console = console_on(sys.stdout)
    if form.as_json or not can_redraw(console):
        yield lambda execution: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda execution: live.update(CutLines(tree(execution, SYSTEM_CLOCK.now())), refresh=True)


async def _print(execution: Execution, storage: Storage, form: _Form) -> None:
    succeeded = execution.phase is WorkflowPhase.SUCCEEDED
    outputs = await outputs_of(execution, storage) if succeeded else None
    if form.as_json:
        say_json(as_data(execution) | {"outputs": outputs})
        return
    print_fitting(console_on(sys.stdout), tree(execution, SYSTEM_CLOCK.now()))
    if outputs:
        say_json(outputs, indented=True)
    if execution.failure is not None:
        where = ("-n", execution.info.namespace)
        pod, child = failed_pod(execution, execution.failure), failed_child(execution, execution.failure)
        logs = shlex.join(["kubectl", "logs", pod, *where]) if pod else ""
        inside = shlex.join(["propeller", "status", child, *where]) if child else ""
        print_failure(execution, execution.failure, full_traceback=form.full_traceback, logs=logs, inside=inside)


def as_data(execution: Execution) -> dict[str, Any]:
    """An execution for programs: every node that has been opened, with its times in seconds since `createdAt`."""
    return {
        "name": execution.info.name,
        "namespace": execution.info.namespace,
        "phase": execution.phase.name,
        "createdAt": execution.created_at,
        "endedAt": execution.ended_at,
        "error": error_json(execution, execution.failure) if execution.failure is not None else None,
        "nodes": [_node(execution, node) for node in execution.user_nodes()],
    }


def _node(execution: Execution, node: int) -> dict[str, Any]:
    view = execution.view(node)
    failure = execution.failures.get(node)
    phase, cached = NodePhase(execution.phases[node]), execution.cache.of(node)
    return {
        "id": execution.unique_id(node),
        "name": view.spec.name,
        "kind": str(view.spec.kind),
        "phase": phase.name,
        "attempt": execution.attempts[node] + 1,
        "startedAt": round(execution.started[node], 3) or None,
        "endedAt": round(execution.ended[node], 3) or None,
        "error": error_json(execution, failure) if failure is not None else None,
        "waits": wait_of(execution, node),
        "cache": None if cached is CacheStatus.DISABLED else cached.name,
    }
