"""A closure in the object store is FlyteAdmin's message or a bare one, and is never taken for the other."""

from __future__ import annotations

import orjson
import pytest
from flyteidl.admin import workflow_pb2
from flyteidl.core import compiler_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.compiler import compile_workflow
from propeller.controller._offloaded import closure_of_message
from propeller.errors import CorruptBlob
from propeller.workflow import parse_plan
from tests.unit.compiler.shapes import add_task, chain

MAX_MESSAGES = 1_000
URI = "s3://bucket/closure"
CLOSURE = compile_workflow(chain(2), [], [add_task()])

names = st.text(st.characters(codec="utf-8"), max_size=12)


def of_admin(closure: compiler_pb2.CompiledWorkflowClosure) -> workflow_pb2.WorkflowClosure:
    stored = workflow_pb2.WorkflowClosure(compiled_workflow=closure)
    stored.created_at.FromSeconds(1_600_000_000)
    return stored


def renamed(project: str, domain: str, name: str) -> compiler_pb2.CompiledWorkflowClosure:
    closure = compiler_pb2.CompiledWorkflowClosure()
    closure.CopyFrom(CLOSURE)
    identity = closure.primary.template.id
    identity.project, identity.domain, identity.name = project, domain, name
    return closure


def test_what_flyteadmin_stores_and_a_bare_closure_are_the_same_plan() -> None:
    stored = closure_of_message(of_admin(CLOSURE).SerializeToString(), URI, MAX_MESSAGES)
    assert orjson.loads(stored) == orjson.loads(closure_of_message(CLOSURE.SerializeToString(), URI, MAX_MESSAGES))
    assert [node.id for node in parse_plan(stored, "digest").root.nodes if node.task] == ["n0", "n1"]


@given(names, names, names.filter(bool))
def test_neither_is_taken_for_the_other_whatever_the_workflow_is_called(project: str, domain: str, name: str) -> None:
    """Names are bytes where the other message has messages: some of them parse."""
    closure = renamed(project, domain, name)
    for message in (closure, of_admin(closure)):
        static = orjson.loads(closure_of_message(message.SerializeToString(), URI, MAX_MESSAGES))
        assert static["spec"]["id"] == f"{project}:{domain}:{name}"
        assert static["spec"]["nodes"].keys() >= {"n0", "n1"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff",
        b'{"primary": {}}',
        of_admin(compiler_pb2.CompiledWorkflowClosure()).SerializeToString(),
        of_admin(CLOSURE).SerializeToString()[:-60],
    ],
    ids=["empty", "noise", "JSON", "no workflow", "cut off"],
)
def test_anything_else_is_refused_by_its_place(data: bytes) -> None:
    with pytest.raises(CorruptBlob, match=URI):
        closure_of_message(data, URI, MAX_MESSAGES)


def test_one_of_more_messages_than_are_parsed_is_refused_by_the_setting() -> None:
    bomb = of_admin(CLOSURE).SerializeToString() + b"\x0a\x00" * 10 * MAX_MESSAGES
    with pytest.raises(CorruptBlob, match=rf"{URI} .* more than {MAX_MESSAGES} messages \(storage\.max_messages\)"):
        closure_of_message(bomb, URI, MAX_MESSAGES)
