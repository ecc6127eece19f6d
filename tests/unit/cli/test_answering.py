"""Which gate a name means, and which answers it takes: by an execution's status and annotations."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.cli._answering import Answer, gate_of, text_for
from propeller.controller import FlyteWorkflow
from propeller.errors import Invalid
from propeller.handlers import TRANSITIONS
from propeller.kube import ObjectMeta
from propeller.workflow import Cancel, Execution, OutputsWritten, Signalled, TimerFired, begin, decide
from tests.unit.controller.test_gates import approve, signal, sleep
from tests.unit.workflow.drive import execution, graph, plan, task


def begun(*nodes: dict[str, Any], **fields: Any) -> Execution:
    of = execution(plan(graph(*nodes, **fields)))
    begin(of, TRANSITIONS, 1000.0)
    return of


def answered(of: Execution, gate: str, text: str = "5", approves: bool | None = None, **annotations: str) -> str:
    """What would be written."""
    given = {f"propeller/signal.{node}": value for node, value in annotations.items()}
    workflow = FlyteWorkflow(metadata=ObjectMeta(name="e", namespace="ns", annotations=given))
    answer = Answer(execution="e", gate=gate, text=text, approves=approves, namespace="ns", as_json=False)
    return text_for(gate_of(of, gate), workflow, answer)


def test_a_gate_is_named_by_its_id_or_by_the_name_in_the_workflow() -> None:
    of = begun(signal("n0"), approve("n1"))
    assert gate_of(of, "n0").number == gate_of(of, "n0-name").number
    assert answered(of, "n0") == "5"
    assert answered(of, "n1", approves=True) == "true"
    assert answered(of, "n1-name", approves=False) == "false"
    assert answered(of, "n1", "TRUE") == "TRUE"


def test_a_gate_may_be_answered_before_anything_has_begun() -> None:
    assert answered(execution(plan(graph(task("n0"), signal("n1"), edges=[("n0", "n1")]))), "n1-name") == "5"


def test_a_name_of_several_gates_is_asked_back_for_until_one_of_them_is_left() -> None:
    same = {"gate": signal("same")["gate"]}
    of = begun(signal("n0") | same, signal("n1") | same)
    with pytest.raises(Invalid, match=r"2 gates of e are called 'same-name': name one by its id, n0 .*, n1"):
        gate_of(of, "same-name")
    decide(of, [(0, Signalled("1"))], 1001.0, TRANSITIONS)
    decide(of, [(0, OutputsWritten())], 1001.0, TRANSITIONS)
    assert gate_of(of, "same-name").number == 1


@pytest.mark.parametrize(
    ("gate", "text", "approves", "says"),
    [
        ("n0", "x", None, "n0 waits for a value of type integer: expected a whole number of 64 bits, found 'x'"),
        ("n0", "", True, "not for an approval: propeller signal e n0 VALUE -n ns$"),
        ("n1", "maybe", None, "n1 waits for a value of type boolean: expected true or false"),
        ("n2", "5", None, "n2 sleeps, and ends by itself"),
        ("n3", "5", None, "n3 is a task node, not a gate"),
        ("n9", "5", None, r"e has no gate 'n9' that has begun or is about to; it has n0 \(n0-name\), n1"),
        ("\x1b[2J", "5", None, r"no gate '\\\\x1b\[2J'"),
    ],
)
def test_what_no_gate_takes_is_refused(gate: str, text: str, approves: bool | None, says: str) -> None:
    of = begun(signal("n0"), approve("n1"), sleep("n2", "60s"), task("n3"))
    with pytest.raises(Invalid, match=says):
        answered(of, gate, text, approves)


def test_a_second_answer_is_refused_whether_the_first_is_taken_or_about_to_be() -> None:
    of = begun(signal("n0"), task("n1"), edges=[("n0", "n1")])
    with pytest.raises(Invalid, match="was given an answer already, which is about to be taken"):
        answered(of, "n0", n0="1")
    assert answered(of, "n0", n0="of another type") == "5"
    decide(of, [(0, Signalled("1"))], 1001.0, TRANSITIONS)
    for events in ([], [(0, OutputsWritten())]):
        decide(of, events, 1001.0, TRANSITIONS)
        with pytest.raises(Invalid, match="n0 has its answer: another one is not taken"):
            answered(of, "n0")


def test_an_answer_that_comes_too_late_is_refused_with_the_reason() -> None:
    policy = {"onFailurePolicy": "FAIL_AFTER_EXECUTABLE_NODES_COMPLETE"}
    of = begun(signal("n0", executionDeadline="60s"), signal("n1"), **policy)
    decide(of, [(0, TimerFired())], 1060.0, TRANSITIONS)
    with pytest.raises(Invalid, match=r"n0 has failed: node execution timeout \[60s\] expired: it takes no answer"):
        answered(of, "n0")
    decide(of, [(-1, Cancel("by somebody"))], 1070.0, TRANSITIONS)
    with pytest.raises(Invalid, match=r"e has ended \(aborted\): nothing of it waits"):
        answered(of, "n1")
