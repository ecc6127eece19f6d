"""The variables by which a task knows who it is (flytek8s/k8s_resource_adds.go; flytekit's entrypoint reads them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propeller.handlers.tasks._settings import PodSettings
from propeller.workflow import Execution, NodeView

if TYPE_CHECKING:
    from propeller.handlers.tasks._shape import Shape

_ARRAY_INDEX = "FLYTE_K8S_ARRAY_INDEX"


def environment(node: NodeView, attempt: int, shape: Shape, settings: PodSettings) -> list[dict[str, str]]:
    """In Kubernetes' form, to stand behind a container's own: of two with the same name the later one counts."""
    info = node.execution.info
    variables = node.execution.once(_of_execution) | {"FLYTE_ATTEMPT_NUMBER": str(attempt)} | shape.variables
    if shape.has_links and info.spec.console_url:
        variables["FLYTE_EXECUTION_URL"] = _console_url(node)
    variables |= info.spec.execution_config.environment_variables or {}
    if node.item is not None:
        variables |= {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": _ARRAY_INDEX, _ARRAY_INDEX: str(node.item)}
    variables |= settings.environment
    return [{"name": key, "value": value} for key, value in variables.items()]


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
