"""A folder of flytekit's messages, compiled as FlyteAdmin does: tasks first, then what the workflow requires."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, identifier_pb2, literals_pb2

from propeller.compiler import CompileErrors, build_resource, compile_task, compile_workflow, find_requirements
from propeller.compiler import identifier_text as text
from tests.vectors.defaults import default_inputs
from tests.vectors.folder import read

EXECUTION = identifier_pb2.WorkflowExecutionIdentifier(project="vectors", domain="development", name="exec")
NAMESPACE = "vectors-development"


@dataclass
class Outcome:
    """What became of a folder: the stage it was refused at, with the errors; or "done" and everything."""

    stage: str = "task"
    errors: CompileErrors | None = None
    closure: compiler_pb2.CompiledWorkflowClosure | None = None
    resource: dict[str, object] | None = None


def compile_folder(folder: Path) -> Outcome:
    outcome = Outcome()
    try:
        _compile(folder, outcome)
    except CompileErrors as errors:
        outcome.errors = errors
    return outcome


def _compile(folder: Path, outcome: Outcome) -> None:
    spec = read(folder / "workflow.pb", workflow_pb2.WorkflowSpec())
    tasks = {}
    for path in sorted((folder / "tasks").glob("*.pb")):
        task = compile_task(read(path, task_pb2.TaskSpec()).template)
        tasks[text(task.template.id)] = task
    plans = {}
    for path in (folder / "launch_plans").glob("*.pb"):
        plan = read(path, launch_plan_pb2.LaunchPlan())
        plans[text(plan.id)] = plan
    outcome.stage = "requirements"
    required = find_requirements(spec.template, spec.sub_workflows)
    outcome.stage = "compile"
    outcome.closure = compile_workflow(
        spec.template,
        spec.sub_workflows,
        [tasks[text(task_id)] for task_id in required.task_ids if text(task_id) in tasks],
        [plans[text(plan_id)] for plan_id in required.launch_plan_ids if text(plan_id) in plans],
    )
    outcome.stage = "build"
    closure = compiler_pb2.CompiledWorkflowClosure.FromString(outcome.closure.SerializeToString())
    outcome.resource = build_resource(closure, _inputs(folder, closure), EXECUTION, NAMESPACE)
    outcome.stage = "done"


def _inputs(folder: Path, closure: compiler_pb2.CompiledWorkflowClosure) -> literals_pb2.LiteralMap | None:
    if (folder / "no_inputs").exists():
        return None
    if (folder / "inputs.pb").exists():
        return read(folder / "inputs.pb", literals_pb2.LiteralMap())
    return default_inputs(closure.primary.template.interface)
