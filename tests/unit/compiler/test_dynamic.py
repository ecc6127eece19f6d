"""Workflows that dynamic tasks generate."""

from __future__ import annotations

import pytest
from flyteidl.core import dynamic_job_pb2, tasks_pb2

from propeller.compiler import CompileErrors, compile_dynamic
from tests.unit.compiler import shapes


def _job() -> dynamic_job_pb2.DynamicJobSpec:
    made = shapes.workflow()
    node = shapes.add_node(made, "dn0")
    for binding in node.inputs:
        binding.binding.scalar.primitive.integer = 1
    job = dynamic_job_pb2.DynamicJobSpec(nodes=made.nodes, tasks=[shapes.template(), shapes.template()])
    output = job.outputs.add(var="o0")
    output.binding.promise.node_id, output.binding.promise.var = "dn0", "o0"
    return job


def _parent() -> tasks_pb2.TaskTemplate:
    parent = tasks_pb2.TaskTemplate()
    parent.interface.inputs.variables["n"].type.CopyFrom(shapes.INTEGER)
    parent.interface.outputs.variables["o0"].type.CopyFrom(shapes.INTEGER)
    parent.container.config.add(key="k", value="v")
    return parent


def test_it_is_a_workflow_with_the_tasks_outputs_and_no_inputs() -> None:
    closure = compile_dynamic(_job(), task=_parent(), project="p", domain="d", node_id="n3")
    template = closure.primary.template
    assert (template.id.project, template.id.domain, template.id.name) == ("p", "d", "dynamic_n3")
    assert not template.interface.inputs.variables
    assert list(template.interface.outputs.variables) == ["o0"]
    assert [node.id for node in template.nodes] == ["start-node", "end-node", "dn0"]
    assert list(closure.primary.connections.upstream["end-node"].ids) == ["dn0"]


def test_its_containers_get_the_tasks_config_and_tasks_given_twice_count_once() -> None:
    closure = compile_dynamic(_job(), task=_parent(), project="p", domain="d", node_id="n3")
    assert [[(pair.key, pair.value) for pair in task.template.container.config] for task in closure.tasks] == [
        [("k", "v")]
    ]


def test_the_same_job_compiles_to_the_same_closure() -> None:
    first, again = (compile_dynamic(_job(), task=_parent(), project="p", domain="d", node_id="n3") for _ in range(2))
    assert first.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


def test_outputs_of_another_type_than_the_tasks_are_refused() -> None:
    parent = _parent()
    parent.interface.outputs.variables["o0"].type.CopyFrom(shapes.STRING)
    with pytest.raises(CompileErrors, match="MismatchingTypes at end-node"):
        compile_dynamic(_job(), task=parent, project="p", domain="d", node_id="n3")
