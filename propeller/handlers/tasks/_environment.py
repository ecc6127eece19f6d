"""The variables by which a task knows who it is (flytek8s/k8s_resource_adds.go; flytekit's entrypoint reads them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propeller.handlers.tasks._expansion import escape
from propeller.handlers.tasks._settings import PodSettings
from propeller.handlers.tasks._template import LONGEST_ARGUMENT, check_argument
from propeller.workflow import Execution, NodeView

if TYPE_CHECKING:
    from propeller.handlers.tasks._shape import Shape

_ARRAY_INDEX = "FLYTE_K8S_ARRAY_INDEX"


def environment(node: NodeView, attempt: int, shape: Shape, settings: PodSettings) -> list[dict[str, str]]:
    """In Kubernetes' form, to stand behind a container's own: of two with the same name the later one counts.
    Kubernetes expands references in the operator's alone. Raises Invalid if no process can be given a value.
    """
    info = node.execution.info
    variables = node.execution.once(_of_execution) | {"FLYTE_ATTEMPT_NUMBER": str(attempt)} | shape.variables
    if shape.has_links and info.spec.console_url:
        variables["FLYTE_EXECUTION_URL"] = _console_url(node)
    variables |= info.spec.execution_config.environment_variables or {}
    if node.item is not None:
        variables |= {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": _ARRAY_INDEX, _ARRAY_INDEX: str(node.item)}
    found = []
    for name, value in variables.items():
        text = escape(value)
        if len(text) > LONGEST_ARGUMENT // 4 or "\0" in text:
            check_argument(f"variable {name!r}", f"{name}={text}")
        found.append({"name": name, "value": text})
    chosen = settings.environment
    if not chosen:
        return found
    return [
        *(variable for variable in found if variable["name"] not in chosen),
        *({"name": name, "value": value} for name, value in chosen.items()),
    ]


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
