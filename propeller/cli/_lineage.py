"""`propeller lineage`: from an output back to the execution, node, task version and inputs that it comes from."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.catalog import Origin, origin_of
from propeller.cli._connecting import connected, require_workflows
from propeller.cli._event_loop import run
from propeller.cli._executions import inputs_of, loader_of
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.cli._values import to_json
from propeller.clock import SYSTEM_CLOCK, rfc3339
from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, FlyteWorkflow
from propeller.errors import CorruptBlob, Invalid, NotFound, PropellerError
from propeller.kube import Client, KubeObject
from propeller.storage import Storage
from propeller.text import bounded, one_line
from propeller.workflow import CacheStatus, Execution, NodeKind, NodePhase, NodeView

MAX_SHOWN = 200
"""Characters of an input."""


class Found(msgspec.Struct, frozen=True):
    """The attempt of a node that a URI belongs to; no node if it is one of the workflow's own outputs."""

    execution: Execution
    node: NodeView | None
    attempt: int


def show_lineage(
    *,
    uri: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    output: str,
    config: str | None,
) -> None:
    """Say which execution, node and task version an output comes from, and with which inputs it was made."""
    run(_show(uri, kubeconfig, context, namespace, load_settings(config), as_json=output == "json"))


async def _show(
    uri: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    if "/" not in uri:
        raise Invalid(f"{uri!r} is no URI of an output: write it as an execution prints it, like s3://bucket/path")
    async with (
        connected(kubeconfig, context, settings) as (client, connection),
        Storage(settings.storage, trusting=True) as storage,
    ):
        await require_workflows(client, connection)
        found = await _search(uri, client, storage, namespace, settings)
        origin = await _origin(found, storage)
        inputs = await _inputs(found, storage)
    document = _document(uri, found, origin, inputs)
    if as_json:
        say_json(document)
    else:
        say(_text(document))


async def _search(uri: str, client: Client, storage: Storage, namespace: str | None, settings: Settings) -> Found:
    """Raises PropellerError if it is of no execution in the cluster."""
    loader = loader_of(client, storage, settings)
    heads = FLYTE_WORKFLOWS.metadata_only().typed(KubeObject)
    unread = ""
    async for page in client.pages(heads, namespace):
        for head in page.items:
            name = head.metadata.name
            if name not in uri:
                continue
            try:
                workflow: FlyteWorkflow = await client.get(WORKFLOWS, name, head.metadata.namespace)
                found = _match(uri, await loader.show(workflow, SYSTEM_CLOCK.now()))
            except NotFound:
                continue
            except PropellerError as error:  # maybe another's, whose name is in the URI by chance
                unread = unread or f"; {head.metadata.namespace}/{name} cannot be read: {error}"
                continue
            if found is not None:
                return found
    where = f"namespace {namespace}" if namespace else "the cluster"
    raise PropellerError(
        f"{uri} is of no execution that is in {where}: it may be deleted (controller.ttl), or another's{unread}"
    )


def _match(uri: str, execution: Execution) -> Found | None:
    """The attempt whose directory, or raw output prefix, the URI is below; of nodes inside each other the innermost."""
    parts = set(uri.split("/"))
    best: tuple[int, Found] | None = None
    for number in execution.user_nodes():
        if execution.phases[number] == NodePhase.NOT_STARTED:
            continue
        for attempt in range(execution.attempts[number] + 1):
            directory = execution.output_directory(number, attempt)
            is_below = uri == directory or uri.startswith(f"{directory}/")
            depth = len(directory) if is_below else 0
            if execution.pod_name(number, attempt) in parts:
                depth = len(uri)
            if depth and (best is None or depth > best[0]):
                best = depth, Found(execution, execution.view(number), attempt)
    if best is None and uri.startswith(f"{execution.info.directory}/"):
        return Found(execution, None, 0)
    return None if best is None else best[1]


async def _origin(found: Found, storage: Storage) -> Origin | None:
    """Where a node had its outputs from, if that was the cache."""
    view = found.node
    if view is None or found.execution.cache.of(view.number) is not CacheStatus.HIT:
        return None
    data = await storage.find(f"{found.execution.output_directory(view.number, found.attempt)}/outputs.pb")
    try:
        return None if data is None else origin_of(data)
    except CorruptBlob:
        return None


async def _inputs(found: Found, storage: Storage) -> dict[str, Any] | None:
    """The inputs of the node, or of the execution; None if they cannot be had any more."""
    try:
        literals = await inputs_of(found.execution, found.node, storage)
    except PropellerError:
        return None
    return to_json(literals)


def _document(uri: str, found: Found, origin: Origin | None, inputs: dict[str, Any] | None) -> dict[str, Any]:
    execution, view = found.execution, found.node
    task = None
    if view is not None and view.spec.kind is NodeKind.TASK:
        identity = view.graph.plan.task(view.spec.task).id
        task = {
            "project": identity.project,
            "domain": identity.domain,
            "name": identity.name,
            "version": identity.version,
        }
    return {
        "uri": uri,
        "execution": execution.info.name,
        "namespace": execution.info.namespace,
        "workflow": execution.plan.root.id,
        "startedAt": rfc3339(execution.created_at),
        "node": None if view is None else execution.unique_id(view.number),
        "attempt": None if view is None else found.attempt + 1,
        "task": task,
        "inputs": inputs,
        "cachedFrom": None if origin is None else _origin_json(origin),
    }


def _origin_json(origin: Origin) -> dict[str, Any]:
    return {
        "execution": origin.execution,
        "node": origin.node,
        "attempt": origin.attempt + 1,
        "taskVersion": origin.task_version,
        "cacheVersion": origin.key.version,
        "at": origin.at,
    }


def _text(document: dict[str, Any]) -> str:
    lines = ["execution {namespace}/{execution}, started {startedAt}".format_map(document)]
    lines.append(f"  workflow {document['workflow']}")
    if document["node"] is not None:
        lines.append("  node {node}, attempt {attempt}".format_map(document))
    if document["task"] is not None:
        lines.append("  task {project}:{domain}:{name}, version {version}".format_map(document["task"]))
    for name, value in (document["inputs"] or {}).items():
        lines.append(f"  input {name}: {bounded(msgspec.json.encode(value).decode(), MAX_SHOWN)}")
    if document["inputs"] is None:
        lines.append("  its inputs are gone")
    if (origin := document["cachedFrom"]) is not None:
        lines.append(
            "from the cache: computed by {execution}, node {node}, attempt {attempt}, at {at}, by task version "
            "{taskVersion}, under cache version {cacheVersion}".format_map(origin)
        )
    return "\n".join(map(one_line, lines))
