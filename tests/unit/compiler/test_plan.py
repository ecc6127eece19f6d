"""Resources as plans: what is malformed is refused with its place, and nothing of the document is kept."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import msgspec
import orjson
import pytest

from propeller.compiler import build_resource, compile_workflow
from propeller.errors import Invalid
from propeller.workflow import FailurePolicy, parse_plan
from tests.unit.compiler import shapes
from tests.unit.compiler.test_compile import branching

TASKS = [shapes.add_task()]


def _resource() -> dict[str, Any]:
    made = shapes.chain(3)
    shapes.call(made, "n3", "s")
    closure = compile_workflow(made, [branching("s")], TASKS)
    found: dict[str, Any] = orjson.loads(orjson.dumps(build_resource(closure, None, None, "")))
    return found


def _refusal(resource: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        parse_plan(orjson.dumps(resource), "digest")
    return str(caught.value)


def test_nodes_that_wait_for_each_other_are_refused() -> None:
    resource = _resource()
    resource["spec"]["edges"]["upstream"]["n0"] = ["n2"]
    assert "spec.edges: nodes wait for each other" in _refusal(resource)


def test_a_case_that_leads_to_its_own_branch_is_refused() -> None:
    resource = _resource()
    (sub_workflow,) = resource["subWorkflows"].values()
    sub_workflow["nodes"]["n0"]["branch"]["if"]["then"] = "n0"
    assert "nodes wait for each other" in _refusal(resource)


def test_a_workflow_that_runs_itself_is_refused() -> None:
    resource = _resource()
    ((key, sub_workflow),) = resource["subWorkflows"].items()
    case = sub_workflow["nodes"]["n0-c"]
    case.update(kind="workflow", workflow={"subWorkflowRef": key})
    assert "runs itself" in _refusal(resource)


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("FAIL_AFTER_EXECUTABLE_NODES_COMPLETE", FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE),
        (1, FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE),
        ("FAIL_IMMEDIATELY", FailurePolicy.FAIL_IMMEDIATELY),
    ],
)
def test_a_failure_policy_is_read_by_name_and_by_number(written: object, policy: FailurePolicy) -> None:
    resource = _resource()
    resource["spec"]["onFailurePolicy"] = written
    assert parse_plan(orjson.dumps(resource), "digest").root.policy is policy


@pytest.mark.parametrize("written", ["SOMETIMES", 7, []])
def test_another_failure_policy_is_refused(written: object) -> None:
    resource = _resource()
    resource["spec"]["onFailurePolicy"] = written
    assert "onFailurePolicy" in _refusal(resource)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("spec", "nodes", "n1", "kind"), "magic", "kind"),
        (("spec", "nodes", "n1", "task"), "nothing", "spec.nodes.n1.task"),
        (("spec", "nodes", "n3", "workflow"), {"subWorkflowRef": "x"}, "spec.nodes.n3.workflow.subWorkflowRef"),
        (("spec", "nodes", "n0", "retry"), 3, "retry"),
        (("spec", "edges", "upstream", "n1"), "n0", "edges.upstream"),
        (("spec", "nodes"), [], "spec.nodes"),
    ],
)
def test_a_malformed_field_is_named(path: tuple[str, ...], value: object, place: str) -> None:
    resource = _resource()
    part = resource
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    assert place in _refusal(resource)


@pytest.mark.parametrize("opening", [b"[", b'{"spec":', b'{"spec":{"id":"w","nodes":{},"outputs":' + b'{"a":'])
def test_a_document_of_endless_depth_is_refused(opening: bytes) -> None:
    with pytest.raises(Invalid):
        parse_plan(opening * 100_000, "digest")


def test_arrays_in_arrays_are_read_whatever_their_depth() -> None:
    end = {"id": "end-node", "kind": "end"}
    node: dict[str, Any] = {"id": "n", "kind": "task", "task": "t"}
    for _ in range(60):
        node = {"id": "n", "kind": "array", "array": {"SubNodeSpec": node}}
    document = orjson.dumps({"spec": {"id": "w", "nodes": {"n": node, "end-node": end}}, "tasks": {"t": {}}})
    assert parse_plan(document, "digest").root.nodes[0].array is not None


def test_bindings_that_are_null_are_none() -> None:
    resource = _resource()
    resource["spec"]["nodes"]["n0"]["inputBindings"] = None
    graph = parse_plan(orjson.dumps(resource), "digest").root
    number = graph.number_of("n0")
    assert number is not None
    assert graph.bindings(number) == ()


def test_the_document_can_go_once_the_plan_is_read() -> None:
    document = orjson.dumps(_resource())
    before = sys.getrefcount(document)
    plan = parse_plan(document, "digest")
    gc.collect()
    assert sys.getrefcount(document) == before
    assert weakref.ref(plan)() is plan
    assert isinstance(plan.root.nodes[0].input_bindings, msgspec.Raw)
