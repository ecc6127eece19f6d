"""Continue executions that FlytePropeller left in flight (docs/migration.md)."""

from __future__ import annotations

from flyteidl.core import tasks_pb2

from propeller.controller._resource import FlyteWorkflow
from propeller.errors import NotUnderstood
from propeller.handlers.plugins import Plugins
from propeller.handlers.plugins.pod import can_be_pod
from propeller.status import LoadGraph, take_over
from propeller.workflow import Execution, ExecutionInfo, Plan

NOT_PODS = frozenset(
    {
        "aws-batch",
        "container_array",
        "dask",
        "mpi",
        "pytorch",
        "ray",
        "spark",
        "tensorflow",
        "xgboost",
    }
)
"""Types of tasks with a container that FlytePropeller's plugins run as something else than a pod of that name."""


def require_flytes_directory(workflow: FlyteWorkflow, info: ExecutionInfo, metadata_prefix: str) -> None:
    """Raise NotUnderstood unless FlytePropeller left the execution's data where it is to be continued."""
    data_dir, own = str(workflow.status.get("dataDir", "")), _directory(info, metadata_prefix)
    if data_dir.rstrip("/") != own:
        raise NotUnderstood(
            f"FlytePropeller left the data of {workflow.key} at {data_dir!r}, not at {own!r}: set "
            "storage.metadata_prefix to what comes before its last part"
        )


async def take_over_of(
    workflow: FlyteWorkflow, info: ExecutionInfo, plan: Plan, load_graph: LoadGraph, now: float, plugins: Plugins
) -> Execution:
    """Return the execution of an object that FlytePropeller wrote last. Raises NotUnderstood."""

    def runs_pods(task: tasks_pb2.TaskTemplate) -> bool:
        return plugins.is_pod(task.type) and _can_be_pod(task)

    return await take_over(info, plan, workflow.status, load_graph, runs_pods, now)


def _directory(info: ExecutionInfo, metadata_prefix: str) -> str:
    """Return where FlytePropeller keeps an execution's data (constructWorkflowMetadataPrefix)."""
    identity = info.spec.execution_id
    named = identity.project or identity.domain or identity.name
    name = f"{identity.project}-{identity.domain}-{identity.name}" if named else info.name
    return f"{metadata_prefix.rstrip('/')}/{name}"


def _can_be_pod(task: tasks_pb2.TaskTemplate) -> bool:
    return task.type not in NOT_PODS and can_be_pod(task)
