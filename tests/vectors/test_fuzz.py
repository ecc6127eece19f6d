"""Damaged messages and resources compile, or are refused by name; nothing crashes, hangs or recurses out."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, dynamic_job_pb2, literals_pb2, tasks_pb2
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from propeller.cli._plan_dot import to_dot
from propeller.cli._plan_text import explain
from propeller.compiler import (
    build_resource,
    compile_dynamic,
    compile_task,
    compile_workflow,
    find_requirements,
    find_warnings,
)
from propeller.errors import Invalid
from propeller.workflow import parse_plan
from tests.examples import examples
from tests.unit.compiler.mutations import damage, mutate, mutate_json
from tests.vectors.folder import MISSING, found, is_here, read
from tests.vectors.registered import EXECUTION

pytestmark = pytest.mark.skipif(not is_here(), reason=MISSING)

FOLDERS = [path.parent for path in found("flytekit/*/workflow.pb")]
RESOURCES = [path.read_bytes() for path in found("flytekit/*/resource.json")]
CLOSURES = found("flytekit/*/compiled.json")
JOBS = found("dynamic/*.json")

often = examples(150, suppress_health_check=list(HealthCheck))
randoms = st.integers(min_value=0, max_value=2**64).map(Random)


def _take(resource: dict[str, Any]) -> None:
    """What comes out of the compiler is JSON, and a plan or refused as one."""
    plan = parse_plan(json.dumps(resource).encode(), "digest")
    explain(plan)
    to_dot(plan)


@often
@given(randoms)
def test_a_damaged_workflow_compiles_or_is_refused_by_name(random: Random) -> None:
    folder = random.choice(FOLDERS)
    spec = read(folder / "workflow.pb", workflow_pb2.WorkflowSpec())
    tasks = [read(path, task_pb2.TaskSpec()) for path in sorted(folder.glob("tasks/*.pb"))]
    plans = [read(path, launch_plan_pb2.LaunchPlan()) for path in sorted(folder.glob("launch_plans/*.pb"))]
    mutate(random, spec, random.randint(0, 3))
    for message in (*tasks, *plans):
        mutate(random, message, random.choice((0, 0, 1)))
    if random.random() < 0.3:
        spec = damage(random, spec) or spec
    try:
        find_warnings(spec.template, spec.sub_workflows)
        find_requirements(spec.template, spec.sub_workflows)
        compiled = [compile_task(task.template) for task in tasks]
        closure = compile_workflow(spec.template, spec.sub_workflows, compiled, plans)
        _take(build_resource(closure, None, None, "n"))
    except Invalid:
        return


@often
@given(randoms)
def test_a_damaged_closure_builds_or_is_refused_by_name(random: Random) -> None:
    closure = read(random.choice(CLOSURES), compiler_pb2.CompiledWorkflowClosure())
    mutate(random, closure, random.randint(1, 4))
    if random.random() < 0.3:
        closure = damage(random, closure) or closure
    inputs = literals_pb2.LiteralMap()
    for name in closure.primary.template.interface.inputs.variables:
        inputs.literals[name].scalar.primitive.integer = 1
    mutate(random, inputs, random.randint(0, 2))
    try:
        _take(build_resource(closure, random.choice((inputs, None)), random.choice((EXECUTION, None)), ""))
    except Invalid:
        return


@often
@given(randoms)
def test_a_damaged_dynamic_job_compiles_or_is_refused_by_name(random: Random) -> None:
    job = read(random.choice(JOBS), dynamic_job_pb2.DynamicJobSpec())
    mutate(random, job, random.randint(0, 3))
    job = damage(random, job) or job
    try:
        closure = compile_dynamic(job, task=tasks_pb2.TaskTemplate(), project="p", domain="d", node_id="n")
        _take(build_resource(closure, None, None, ""))
    except Invalid:
        return


@often
@given(randoms)
def test_a_damaged_resource_parses_or_is_refused_by_name(random: Random) -> None:
    resource = json.loads(random.choice(RESOURCES))
    mutate_json(random, resource, random.randint(1, 4))
    try:
        _take(resource)
    except Invalid:
        return


@often
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise_is_no_plan(noise: bytes) -> None:
    with pytest.raises(Invalid):
        parse_plan(noise, "digest")
