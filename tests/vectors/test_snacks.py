"""Flyte's own goldens: the tasks and workflows of flytesnacks, branches, and a dynamic job."""

from __future__ import annotations

from pathlib import Path

import pytest
from flyteidl.admin import task_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, dynamic_job_pb2, identifier_pb2, tasks_pb2, types_pb2, workflow_closure_pb2

from propeller.compiler import (
    build_resource,
    compile_dynamic,
    compile_task,
    compile_workflow,
    find_requirements,
    identifier_text,
    to_json,
)
from tests.vectors.defaults import default_inputs
from tests.vectors.folder import collapsed, found, golden, read

EXECUTION = identifier_pb2.WorkflowExecutionIdentifier(project="hello", domain="domain", name="name")

TASKS = found("snacks-core/*_1.pb")
WORKFLOWS = found("snacks-core/*_2.pb")
RESOURCES = found("snacks-core/compiled/*_wf.json")
BRANCHES = found("branch/*.json")
DYNAMIC = found("dynamic/*.json")


def _task(path: Path) -> compiler_pb2.CompiledTask:
    return _compile(read(path, task_pb2.TaskSpec()).template)


def _compile(template: tasks_pb2.TaskTemplate) -> compiler_pb2.CompiledTask:
    if template.HasField("container"):
        for number in (1, 2, 3):
            template.container.config.add(key=f"testKey{number}", value=f"testValue{number}")
    return compile_task(template)


@pytest.fixture(scope="module")
def compiled_tasks() -> dict[str, compiler_pb2.CompiledTask]:
    tasks = [_task(path) for path in TASKS]
    return {identifier_text(task.template.id): task for task in tasks}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_a_task_compiles_to_flytes_golden(path: Path) -> None:
    expected = read(path.parent / "compiled" / f"{path.stem}_task.json", compiler_pb2.CompiledTask())
    assert _task(path) == expected


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_compiles_to_flytes_golden(path: Path, compiled_tasks: dict[str, compiler_pb2.CompiledTask]) -> None:
    spec = read(path, workflow_pb2.WorkflowSpec())
    required = find_requirements(spec.template, spec.sub_workflows)
    tasks = [compiled_tasks[identifier_text(task_id)] for task_id in required.task_ids]
    closure = compile_workflow(spec.template, spec.sub_workflows, tasks)
    expected = path.parent / "compiled" / f"{path.stem}_wf.json"
    assert expected.exists() or spec.sub_workflows
    if expected.exists():
        assert collapsed(to_json(closure)) == golden(expected)
    build_resource(closure, default_inputs(closure.primary.template.interface), EXECUTION, "namespace")


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_compiled_workflow_becomes_flytes_resource(path: Path) -> None:
    closure = read(path, compiler_pb2.CompiledWorkflowClosure())
    resource = build_resource(closure, default_inputs(closure.primary.template.interface), EXECUTION, "namespace")
    assert collapsed(resource) == golden(path.parents[1] / "k8s" / f"{path.stem}_crd.json")


@pytest.mark.parametrize("path", BRANCHES, ids=lambda path: path.stem)
def test_branches_compile_to_flytes_golden(path: Path) -> None:
    given = read(path, workflow_closure_pb2.WorkflowClosure())
    closure = compile_workflow(given.workflow, [], [_compile(task) for task in given.tasks])
    assert collapsed(to_json(closure)) == golden(path.parent / "compiled" / path.name)


@pytest.mark.parametrize("path", DYNAMIC, ids=lambda path: path.stem)
def test_a_dynamic_job_compiles_and_builds(path: Path) -> None:
    integers = types_pb2.LiteralType(collection_type=types_pb2.LiteralType(simple=types_pb2.INTEGER))
    task = tasks_pb2.TaskTemplate()
    task.interface.outputs.variables["o0"].type.CopyFrom(integers)
    job = read(path, dynamic_job_pb2.DynamicJobSpec())
    closure = compile_dynamic(job, task=task, project="p", domain="domain", node_id="n0")
    resource = build_resource(closure, default_inputs(closure.primary.template.interface), EXECUTION, "namespace")
    assert resource["spec"]["nodes"].keys() >= {node.id for node in job.nodes}
