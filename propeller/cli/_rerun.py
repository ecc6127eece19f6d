"""Run an execution again, with or without the tasks that had succeeded: shared by `propeller recover` and
`relaunch`.
"""

from __future__ import annotations

from typing import Any

from propeller.cli._connecting import connected, require_workflows
from propeller.cli._event_loop import run
from propeller.cli._executions import get_execution
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.cli._workflow import new_execution_name
from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import AlreadyExists, Invalid
from propeller.kube import Raw
from propeller.workflow import SHARD_LABEL, WorkflowPhase, label_value, shard_key, without_signals

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)

_NOT_TAKEN_OVER = frozenset({"apiVersion", "kind", "metadata", "status"})
_OF_THE_ENDED = frozenset({"termination-status", "completed-time"})
"""Labels that FlytePropeller gives workflows when they end."""

_OF_KUBECTL = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


def rerun(
    *,
    execution: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    name: str,
    output: str,
    recover: bool,
    overwrite_cache: bool,
    config: str | None,
) -> None:
    """Create the new execution and print its name. Raises Invalid, PropellerError."""
    new = name or new_execution_name()
    settings = load_settings(config)
    created = _create(
        execution, new, kubeconfig, context, namespace, settings, recover=recover, overwrite_cache=overwrite_cache
    )
    metadata = run(created)["metadata"]
    if output == "json":
        say_json({"name": metadata["name"], "namespace": metadata["namespace"]})
    else:
        say(f"{metadata['name']} has been created; follow it by")
        say(f"  propeller status {metadata['name']} -n {metadata['namespace']} -w")


async def _create(
    name: str,
    new: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    settings: Settings,
    *,
    recover: bool,
    overwrite_cache: bool,
) -> Raw:
    async with connected(kubeconfig, context, settings) as (client, connection):
        await require_workflows(client, connection)
        where = namespace or connection.namespace
        before = await get_execution(client, WORKFLOWS, name, where)
        if recover:
            _require_something_to_recover(before)
        try:
            resource = rerun_resource(before, new, recover=recover, overwrite_cache=overwrite_cache)
            return await client.create(WORKFLOWS, resource, where)
        except AlreadyExists as error:
            raise Invalid(f"--name {new}: an execution of that name exists in namespace {where}") from error


def _require_something_to_recover(workflow: Raw) -> None:
    name, where = workflow["metadata"]["name"], workflow["metadata"]["namespace"]
    phase = workflow.get("status", {}).get("phase", 0)
    if phase == WorkflowPhase.SUCCEEDED:
        raise Invalid(
            f"{name} has succeeded, so nothing is left to recover: propeller relaunch {name} -n {where} runs all of it"
        )
    if phase not in {WorkflowPhase.FAILED, WorkflowPhase.ABORTED}:
        raise Invalid(f"{name} has not ended: wait for it (propeller status {name} -n {where} -w), or delete it")


def rerun_resource(workflow: Raw, name: str, *, recover: bool, overwrite_cache: bool = False) -> dict[str, Any]:
    """Build the resource of a new execution of the same workflow with the same inputs and settings."""
    old = workflow["metadata"]
    labels = {key: text for key, text in (old.get("labels") or {}).items() if key not in _OF_THE_ENDED}
    annotations = without_signals(old.get("annotations") or {})
    annotations = {key: text for key, text in annotations.items() if key not in _OF_KUBECTL}
    if "execution-id" in labels:
        labels["execution-id"] = label_value(name)
    labels[SHARD_LABEL] = shard_key(name)
    kept = {key: value for key, value in workflow.items() if key not in _NOT_TAKEN_OVER}
    identity = {key: text for key, text in (kept.get("executionId") or {}).items() if key != "name"}
    config = {key: value for key, value in (kept.get("executionConfig") or {}).items() if key != "RecoveryExecution"}
    if overwrite_cache:
        config["OverwriteCache"] = True
    if recover:
        config["RecoveryExecution"] = {**identity, "name": old["name"]}
    return {
        **kept,
        "apiVersion": FLYTE_WORKFLOWS.api_version,
        "kind": FLYTE_WORKFLOWS.kind,
        "metadata": {"name": name, "namespace": old["namespace"], "labels": labels, "annotations": annotations},
        "executionId": {**identity, "name": name} if identity else kept.get("executionId", {}),
        "executionConfig": config,
    }
