"""`propeller routes explain`: each rule and why, the ranking of clusters, and where it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from propeller.cli._event_loop import run
from propeller.cli._output import say, say_json
from propeller.cli._routes_text import explanation_lines, outcome
from propeller.cli._routing_subjects import Whole, whole_resource
from propeller.cli._routing_tables import MAX_BYTES, Tables, content_of
from propeller.cli._settings import load_settings
from propeller.errors import Invalid
from propeller.quantity import parse
from propeller.routing import ClusterState, Explanation, Subject, Table, Task, explain


def explain_route(
    *,
    table: str,
    project: str,
    domain: str,
    workflow: str,
    launch_plan: str,
    labels: tuple[str, ...],
    task_labels: tuple[str, ...],
    task_type: str,
    accelerator: str,
    resources: tuple[str, ...],
    interruptible: bool | None,
    file: str,
    key: str,
    current: str,
    down: tuple[str, ...],
    all_rules: bool,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    config: str | None,
) -> None:
    """Explain where TABLE sends an execution or a task."""
    is_task = bool(task_type or accelerator or resources or task_labels) or interruptible is not None
    of_execution = dict(_pairs(labels, "--label"))
    given = Subject(
        key=key,
        project=project,
        domain=domain,
        workflow=workflow,
        launch_plan=launch_plan,
        labels=of_execution,
        task=Task(
            type=task_type,
            accelerator=accelerator,
            requests={name: _amount(name, text) for name, text in _pairs(resources, "--resource")},
            interruptible=bool(interruptible),
            labels={**dict(_pairs(task_labels, "--task-label")), **of_execution},
        )
        if is_task
        else None,
    )
    if file and given != Subject(key=key):
        raise Invalid("--resource-file says what is placed: leave the options about the execution and the task out")
    whole = whole_resource(_content(file), file) if file else Whole(given, ())
    found = run(Tables(kubeconfig, context, load_settings(config)).read(table))
    for name in (*down, *([current] if current else [])):
        if name not in found.clusters:
            raise Invalid(f"the table has no cluster {name!r}; it has {', '.join(found.clusters)}")
    states = {name: ClusterState(healthy=False, reason="--down") for name in down}
    explained = explain(found, whole.execution, states, current)
    tasks = [(name, explain(found, subject, states, _home(current, explained))) for name, subject in whole.tasks]
    if output == "json":
        document = _document(found, explained)
        say_json(
            document | ({"tasks": [{"task": name} | _document(found, one) for name, one in tasks]} if file else {})
        )
    else:
        say("\n".join([*explanation_lines(explained, all_rules=all_rules), *_task_lines(tasks)]))


def _home(current: str, explained: Explanation) -> str:
    """The cluster of the execution whose tasks are placed."""
    return current or getattr(explained.outcome, "cluster", "")


def _task_lines(tasks: list[tuple[str, Explanation]]) -> Iterator[str]:
    if tasks:
        yield ""
        yield "tasks:"
        yield from (f"  {name}: {outcome(found)}" for name, found in tasks)


def _document(table: Table, found: Explanation) -> dict[str, Any]:
    return dict(msgspec.to_builtins(found)) | {"placed": hasattr(found.outcome, "cluster")}


def _pairs(words: tuple[str, ...], option: str) -> Iterator[tuple[str, str]]:
    for word in words:
        name, found, value = word.partition("=")
        if not name or not found:
            raise Invalid(f"{option} {word!r}: write NAME=VALUE")
        yield name, value


def _amount(name: str, text: str) -> Decimal:
    try:
        return parse(text)
    except Invalid as error:
        raise Invalid(f"--resource {name}: {error}") from error


def _content(file: str) -> bytes:
    if file != "-":
        return content_of(file)
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Invalid(f"standard input has more than {MAX_BYTES} bytes")
    return content
