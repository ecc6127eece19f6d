"""`propeller get`: inputs, outputs, error, deck, logs and links of an execution or one of its nodes, and the files of
them; the job of a node that a connector runs. If its FlyteWorkflow is gone, what the object store keeps of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from flyteidl.core import literals_pb2

from propeller.cli._connecting import connected, require_workflows
from propeller.cli._downloads import Download, component, download, unwritable, write_file
from propeller.cli._event_loop import run
from propeller.cli._executions import inputs_of, loader_of, no_execution, node_of
from propeller.cli._jobs import JobOf, Page, job_json, job_of, show_job_links, show_job_log, show_job_metrics
from propeller.cli._kept import find_kept, kept_error, kept_literals
from propeller.cli._logs import Attempt, show_links, show_logs
from propeller.cli._output import say, say_json
from propeller.cli._result import error_json, output_literals
from propeller.cli._settings import load_settings
from propeller.cli._values import to_json
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.controller import WORKFLOWS
from propeller.errors import Invalid, MissingBlob, NotFound, PropellerError
from propeller.storage import Storage, read_literals
from propeller.workflow import Execution, NodeKind, NodePhase, NodeView, WorkflowPhase

PARTS = ("inputs", "outputs", "error", "deck", "logs", "links", "job", "metrics")

_OF_ATTEMPTS = frozenset({"deck", "logs", "links", "job", "metrics"})

_PARTS_OF: Mapping[str, frozenset[str]] = {
    "--attempt": _OF_ATTEMPTS,
    "--download": frozenset({"", "inputs", "outputs", "deck"}),
    "--pod": frozenset({"logs"}),
    "--token": frozenset({"logs"}),
    "--query": frozenset({"metrics"}),
    "--last": frozenset({"metrics"}),
}
"""What options are for; "" is all values."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    execution: str
    node: str
    part: str
    attempt: int | None
    directory: Path | None
    as_json: bool
    page: Page = Page()
    queries: tuple[str, ...] = ()
    last: float | None = None
    pod: str = ""


def show_results(
    *,
    execution: str,
    words: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    attempt: int | None,
    pod: str,
    directory: str,
    lines: int,
    token: str,
    queries: tuple[str, ...],
    last: float | None,
    output: str,
    config: str | None,
) -> None:
    """Show inputs and outputs of an EXECUTION, or of a NODE of it (its id in `propeller status --output json`)."""
    node, part = _node_and_part(words)
    if part in _OF_ATTEMPTS and not node:
        raise click.UsageError(f"name the node whose {part} to show: propeller get {execution} NODE {part}")
    given = {
        "--attempt": attempt is not None,
        "--download": bool(directory),
        "--pod": bool(pod),
        "--token": bool(token),
        "--query": bool(queries),
        "--last": last is not None,
    }
    for option, parts in _PARTS_OF.items():
        if given[option] and part not in parts:
            raise click.UsageError(f"{option} is for {', '.join(sorted(filter(None, parts)))}: name one of these")
    asked = _Asked(
        execution=execution,
        node=node,
        part=part,
        attempt=None if attempt is None else attempt - 1,
        directory=Path(directory) if directory else None,
        as_json=output == "json",
        page=Page(lines, token),
        queries=queries,
        last=last,
        pod=pod,
    )
    run(_show(asked, kubeconfig, context, namespace, load_settings(config)))


def _node_and_part(words: tuple[str, ...]) -> tuple[str, str]:
    if len(words) > 2 or (len(words) == 2 and words[1] not in PARTS):
        raise click.UsageError(f"after EXECUTION come NODE and one of {', '.join(PARTS)}, and nothing else")
    if len(words) == 2:
        return words[0], words[1]
    if not words:
        return "", ""
    return ("", words[0]) if words[0] in PARTS else (words[0], "")


async def _show(
    asked: _Asked, kubeconfig: str | None, context: str | None, namespace: str | None, settings: Settings
) -> None:
    async with (
        connected(kubeconfig, context, settings) as (client, connection),
        Storage(settings.storage, trusting=True) as storage,
    ):
        await require_workflows(client, connection)
        namespace = namespace or connection.namespace
        try:
            workflow = await client.get(WORKFLOWS, asked.execution, namespace)
        except NotFound:
            await _show_kept(asked, namespace, settings, storage)
            return
        loader = loader_of(client, storage, settings)
        execution = await loader.show(workflow, SYSTEM_CLOCK.now())
        view = node_of(execution, asked.node) if asked.node else None
        if asked.part == "deck" and view is not None:
            uri = f"{execution.output_directory(view.number, _task_attempt(view, asked))}/deck.html"
            await _show_deck(uri, asked, storage)
        elif asked.part in _OF_ATTEMPTS and view is not None:
            number = _task_attempt(view, asked)
            if (job := await job_of(view, number, storage)) is not None:
                await _show_job(job, asked, settings)
                return
            if asked.part not in {"logs", "links"}:
                raise PropellerError(f"{view.log_name} has no {asked.part}: no job of a connector is known of it")
            attempt = Attempt(view, number, settings.log_links.templates)
            if asked.part == "logs":
                await show_logs(attempt, client, asked.pod, as_json=asked.as_json)
            else:
                await show_links(attempt, client, as_json=asked.as_json)
        else:
            await _show_values(
                lambda part: _literals(execution, view, part, storage),
                lambda: _error(execution, view),
                asked,
                storage,
                None if asked.part or view is None else await _job(view, storage),
            )


async def _show_kept(asked: _Asked, namespace: str, settings: Settings, storage: Storage) -> None:
    """Show what is kept of an execution whose FlyteWorkflow is gone. Raises PropellerError."""
    try:
        kept = await find_kept(asked.execution, namespace, settings.storage.metadata_prefix, storage)
    except Invalid:
        raise
    except PropellerError as error:
        more = f"; {error} (storage.metadata_prefix of --config FILE)"
        raise PropellerError(f"{no_execution(asked.execution, namespace)}{more}") from error
    say(f"its FlyteWorkflow is gone; this is kept in {kept.directory}", to_stderr=True)
    if asked.part == "deck":
        uri = kept.uri(asked.node, "deck.html", asked.attempt)
        await _show_deck(uri or f"{kept.directory}/{asked.node}", asked, storage)
    elif asked.part in _OF_ATTEMPTS:
        raise PropellerError(f"{asked.part} of {asked.node} are gone with the FlyteWorkflow")
    else:
        await _show_values(
            lambda part: kept_literals(kept, asked.node, part, storage),
            lambda: kept_error(kept, asked.node, storage),
            asked,
            storage,
        )


async def _show_job(job: JobOf, asked: _Asked, settings: Settings) -> None:
    match asked.part:
        case "logs":
            await show_job_log(job, asked.page, settings, as_json=asked.as_json)
        case "metrics":
            await show_job_metrics(job, asked.queries, asked.last, settings, as_json=asked.as_json)
        case "links":
            show_job_links(job, as_json=asked.as_json)
        case _:
            say_json(job_json(job), indented=not asked.as_json)


async def _job(view: NodeView, storage: Storage) -> JobOf | None:
    """Return the job of a node's last attempt."""
    if view.spec.kind is not NodeKind.TASK:
        return None
    return await job_of(view, view.execution.attempts[view.number], storage)


async def _show_values(
    literals_of: Callable[[str], Awaitable[literals_pb2.LiteralMap | None]],
    error: Callable[[], Awaitable[Any]],
    asked: _Asked,
    storage: Storage,
    job: JobOf | None = None,
) -> None:
    found: dict[str, Any] = {}
    files: list[Download] = []
    parts = [asked.part] if asked.part else ["inputs", "outputs", "error"]
    for part in parts:
        if part == "error":
            found[part] = await error()
            continue
        literals = await literals_of(part)
        found[part] = None if literals is None else to_json(literals)
        if asked.directory is not None and literals is not None:
            files += await download(literals, storage, asked.directory / part)
    if asked.directory is not None:
        found["files"] = [msgspec.to_builtins(one) for one in files]
    if job is not None:
        found["job"] = job_json(job)
    shown = found[asked.part] if asked.part and asked.directory is None else found
    say_json(shown, indented=not asked.as_json)


async def _error(execution: Execution, view: NodeView | None) -> dict[str, Any] | None:
    failure = execution.failure if view is None else execution.failures.get(view.number)
    return None if failure is None else error_json(execution, failure)


async def _literals(
    execution: Execution, view: NodeView | None, part: str, storage: Storage
) -> literals_pb2.LiteralMap | None:
    """The inputs or outputs; None if there are none yet."""
    if part == "inputs":
        try:
            return await inputs_of(execution, view, storage)
        except MissingBlob:
            if view is None or execution.phases[view.number] != NodePhase.NOT_STARTED:
                raise
            return None  # they are outputs of nodes that have not ended
    if view is None:
        return await output_literals(execution, storage) if execution.phase is WorkflowPhase.SUCCEEDED else None
    if execution.phases[view.number] != NodePhase.SUCCEEDED:
        return None
    try:
        return await read_literals(storage, execution.outputs_uri(view.number))
    except MissingBlob:
        return literals_pb2.LiteralMap()  # it has no outputs


def _task_attempt(view: NodeView, asked: _Asked) -> int:
    """The attempt that is asked for, the last one by default. Raises Invalid."""
    last = view.execution.attempts[view.number]
    if view.spec.kind is not NodeKind.TASK:
        inside = "" if view.spec.kind is NodeKind.GATE else ": name one inside"
        raise Invalid(f"{view.log_name} is of kind {view.spec.kind}, and only tasks have {asked.part}{inside}")
    if asked.attempt is not None and asked.attempt > last:
        raise Invalid(f"--attempt {asked.attempt + 1}: {view.log_name} has had {last + 1}")
    return last if asked.attempt is None else asked.attempt


async def _show_deck(uri: str, asked: _Asked, storage: Storage) -> None:
    path = (asked.directory or Path()) / f"{component(asked.node)}.html"
    try:
        if asked.directory is None:
            html = (await storage.read(uri, fresh=True)).decode(errors="replace")
            if asked.as_json:
                say_json({"uri": uri, "html": html})
            else:
                say(html, end="")
            return
        await write_file(uri, path, storage)
    except MissingBlob as error:
        raise PropellerError(
            f"node {asked.node} has left no deck at {uri}: its task needs enable_deck=True, and one that was cached "
            "has the deck of the execution that computed it (propeller cache explain)"
        ) from error
    except OSError as error:
        raise unwritable(path, error) from error
    if asked.as_json:
        say_json({"uri": uri, "path": str(path)})
    else:
        say(str(path))
