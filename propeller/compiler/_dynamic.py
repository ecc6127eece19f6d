"""Compile the output of a dynamic task (futures.pb) as a workflow that runs inside the task's node.

Source: flytepropeller/pkg/controller/nodes/dynamic/dynamic_workflow.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyteidl.core import compiler_pb2, dynamic_job_pb2, identifier_pb2, tasks_pb2, workflow_pb2

from propeller.compiler._ids import identifier_text
from propeller.compiler._limits import DEFAULT_LIMITS, Limits
from propeller.compiler._tasks import compile_task
from propeller.compiler._workflow import compile_workflow

VERSION = "dynamic"
"""Flyte makes one up at random; here the same futures give the same workflow."""


def compile_dynamic(
    job: dynamic_job_pb2.DynamicJobSpec,
    *,
    task: tasks_pb2.TaskTemplate,
    project: str,
    domain: str,
    node_id: str,
    launch_plans: Sequence[Any] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> compiler_pb2.CompiledWorkflowClosure:
    """Compile a job that the attempt of `task` at node `node_id` left behind. It has the task's outputs and no inputs;
    its containers get the task's config entries. Raises CompileErrors.
    """
    template = workflow_pb2.WorkflowTemplate(
        id=identifier_pb2.Identifier(
            resource_type=identifier_pb2.ResourceType.WORKFLOW,
            project=project,
            domain=domain,
            name=f"dynamic_{node_id}",
            version=VERSION,
        ),
        nodes=job.nodes,
        outputs=job.outputs,
    )
    template.interface.SetInParent()
    if task.interface.HasField("outputs"):
        template.interface.outputs.CopyFrom(task.interface.outputs)
    compiled: dict[str, compiler_pb2.CompiledTask] = {}
    for given in job.tasks:
        key = identifier_text(given.id if given.HasField("id") else None)
        if key in compiled:
            continue
        compiled[key] = compile_task(given)
        if given.HasField("container") and task.HasField("container"):
            compiled[key].template.container.config.extend(task.container.config)
    return compile_workflow(template, job.subworkflows, list(compiled.values()), launch_plans, limits=limits)
