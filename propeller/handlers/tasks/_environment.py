"""The variables by which a task knows who it is (flytek8s/k8s_resource_adds.go; flytekit's entrypoint reads them)."""

from __future__ import annotations

from flyteidl.core import tasks_pb2

from propeller.handlers.tasks._settings import PodSettings
from propeller.workflow import NodeView

_ARRAY_INDEX = "FLYTE_K8S_ARRAY_INDEX"


def environment(
    node: NodeView, attempt: int, task: tasks_pb2.TaskTemplate, settings: PodSettings
) -> list[dict[str, str]]:
    """In Kubernetes' form, to stand behind a container's own: of two with the same name the later one counts."""
    info = node.execution.info
    variables = {
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": node.execution.plan.root.id,
        "FLYTE_INTERNAL_EXECUTION_ID": info.execution_name,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": info.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": info.domain,
        "FLYTE_ATTEMPT_NUMBER": str(attempt),
        "FLYTE_INTERNAL_TASK_PROJECT": task.id.project,
        "FLYTE_INTERNAL_TASK_DOMAIN": task.id.domain,
        "FLYTE_INTERNAL_TASK_NAME": task.id.name,
        "FLYTE_INTERNAL_TASK_VERSION": task.id.version,
    }
    if "link_type" in task.config and info.spec.console_url:
        variables["FLYTE_EXECUTION_URL"] = _console_url(node)
    variables |= info.spec.execution_config.environment_variables or {}
    if node.item is not None:
        variables |= {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": _ARRAY_INDEX, _ARRAY_INDEX: str(node.item)}
    variables |= settings.environment
    return [{"name": key, "value": value} for key, value in variables.items()]


def _console_url(node: NodeView) -> str:
    info = node.execution.info
    return (
        f"{info.spec.console_url.rstrip('/')}/projects/{info.project}/domains/{info.domain}"
        f"/executions/{info.execution_name}/nodeId/{node.execution.unique_id(node.number)}/nodes"
    )
