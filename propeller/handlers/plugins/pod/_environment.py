"""Build the environment variables that identify a task (flytek8s/k8s_resource_adds.go; flytekit's entrypoint reads
them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._expansion import escape
from propeller.handlers.plugins.pod._template import MAX_ARGUMENT_BYTES, check_argument
from propeller.workflow import Execution, NodeView

if TYPE_CHECKING:
    from propeller.handlers.plugins.pod._shape import Shape

_ATTEMPT = "FLYTE_ATTEMPT_NUMBER"
_URL = "FLYTE_EXECUTION_URL"
_INDEX_NAME = "BATCH_JOB_ARRAY_INDEX_VAR_NAME"
_INDEX = "FLYTE_K8S_ARRAY_INDEX"


Entry = dict[str, str]
"""A variable in Kubernetes' form. Pods share them: nobody may change one."""


def environment(node: NodeView, attempt: int, shape: Shape, settings: PodSettings) -> list[Entry]:
    """Return the variables in Kubernetes' form, to be appended to a container's own: of two with the same name the
    later one counts. Kubernetes expands references only in the operator's. Raises Invalid if a value cannot be passed
    to a process.
    """
    execution = node.execution
    by_shape = execution.cached(_by_shape)
    if (common := by_shape.get(shape)) is None:
        common = by_shape[shape] = _common(execution, shape)
    given = execution.info.spec.execution_config.environment_variables or {}
    own = {_ATTEMPT: _entry(_ATTEMPT, str(attempt))}
    if shape.has_links and execution.info.spec.console_url:
        own[_URL] = _entry(_URL, _console_url(node))
    found = common | own if given.keys().isdisjoint(own) else own | common
    found |= {name: {"name": name, "value": value} for name, value in item_variables(node).items()}
    chosen = settings.variables
    if not chosen:
        return list(found.values())
    return [
        *(entry for name, entry in found.items() if name not in chosen),
        *({"name": name, "value": value} for name, value in chosen.items()),
    ]


def item_variables(node: NodeView) -> dict[str, str]:
    """Return the variables by which pyflyte-map-execute knows which item of a map task it runs; none for others."""
    return {} if node.item is None else {_INDEX_NAME: _INDEX, _INDEX: str(node.item)}


def _by_shape(_: Execution) -> dict[Shape, dict[str, Entry]]:
    """Hold what the pods of each of an execution's tasks have in common."""
    return {}


def _common(execution: Execution, shape: Shape) -> dict[str, Entry]:
    info = execution.info
    variables = _of_execution(execution) | shape.variables | (info.spec.execution_config.environment_variables or {})
    return {name: _entry(name, value) for name, value in variables.items()}


def _entry(name: str, value: str) -> Entry:
    text = escape(value)
    if len(text) > MAX_ARGUMENT_BYTES // 4 or "\0" in text:
        check_argument(f"variable {name!r}", f"{name}={text}")
    return {"name": name, "value": text}


def _of_execution(execution: Execution) -> dict[str, str]:
    info = execution.info
    return {
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": execution.plan.root.id,
        "FLYTE_INTERNAL_EXECUTION_ID": info.execution_name,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": info.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": info.domain,
    }


def _console_url(node: NodeView) -> str:
    info = node.execution.info
    return (
        f"{info.spec.console_url.rstrip('/')}/projects/{info.project}/domains/{info.domain}"
        f"/executions/{info.execution_name}/nodeId/{node.execution.unique_id(node.number)}/nodes"
    )
