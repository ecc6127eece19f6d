"""A plan in words and as a graph."""

from __future__ import annotations

import orjson
import pytest

from propeller.cli._plan_dot import to_dot
from propeller.cli._plan_text import explain
from propeller.compiler import build_resource, compile_workflow
from propeller.errors import Invalid
from propeller.workflow import Plan, parse_plan
from tests.unit.compiler import shapes
from tests.unit.compiler.test_compile import TASKS, branching


def _plan(*, broken: str = "") -> Plan:
    made = branching("w")
    shapes.add_node(made, "n1", "n0").upstream_node_ids.append("n0")
    shapes.add_node(made, "n2")
    shapes.call(made, "n3", "s").upstream_node_ids.append("n1")
    failing = shapes.add_node(shapes.workflow(), "fail")
    made.failure_node.CopyFrom(failing)
    subs = [shapes.chain(2)]
    subs[0].id.name = "s"
    document = orjson.dumps(build_resource(compile_workflow(made, subs, TASKS), None, None, ""))
    return parse_plan(document.replace(b'"operator"', broken.encode()) if broken else document, "digest")


def test_nodes_are_listed_by_the_step_they_can_run_in() -> None:
    assert (
        explain(_plan())
        == """\
workflow p:d:w: 5 nodes in 4 steps
 1 ┬ n0  branch
   │     x = inputs.x
   │     if x == 1: n0-c
   │     else fail: no
   │     ┊ n0-c  task add
   │         a = inputs.x
   │         b = inputs.x
   └ n2  task add
         a = inputs.x
         b = inputs.x
 2 ─ n1  task add
         a = n0.o0
         b = inputs.x
 3 ─ n3  sub-workflow s
         x = inputs.x
         after n1
 4 ─ end-node  outputs
         after n2, n3
 ! ─ fail  task add, when the workflow fails
         a = inputs.x
         b = inputs.x

sub-workflow p:d:s: 2 nodes in 3 steps
 1 ─ n0  task add
         a = inputs.x
         b = inputs.x
 2 ─ n1  task add
         a = n0.o0
         b = inputs.x
 3 ─ end-node  outputs
         after n1
"""
    )


def test_a_graph_has_a_cluster_for_each_workflow_and_a_dashed_edge_for_each_case() -> None:
    drawing = to_dot(_plan())
    assert drawing.count("subgraph") == 2
    assert '[style=dashed label="x == 1"]' in drawing
    assert '[style=dotted label="on failure"]' in drawing
    assert drawing.count("{") == drawing.count("}")


def test_long_lists_and_literals_are_cut_in_the_middle_of_nothing_else() -> None:
    made = shapes.chain(1)
    data = made.nodes[0].inputs[0].binding
    data.Clear()
    data.scalar.primitive.string_value = "x" * 100
    task = shapes.template()
    task.interface.inputs.variables["a"].type.CopyFrom(shapes.STRING)
    tasks = [type(TASKS[0])(template=task)]
    plan = parse_plan(orjson.dumps(build_resource(compile_workflow(made, [], tasks), None, None, "")), "digest")
    assert 'a = "' + "x" * 36 + "...\n" in explain(plan)


def test_a_malformed_condition_is_refused_by_name() -> None:
    document = orjson.loads(orjson.dumps(build_resource(compile_workflow(branching("w"), [], TASKS), None, None, "")))
    document["spec"]["nodes"]["n0"]["branch"]["if"]["condition"] = {"comparison": 5}
    with pytest.raises(Invalid, match=r"a branch's condition\.comparison: expected an object, found a number"):
        explain(parse_plan(orjson.dumps(document), "digest"))
