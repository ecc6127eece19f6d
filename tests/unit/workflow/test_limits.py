"""Numbers, durations and names of resources that no execution could apply are refused by their field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.workflow import ExecutionSpec, check_execution, parse_duration
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import Driver, execution, graph, plan, task


def array(**fields: Any) -> dict[str, Any]:
    return {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item"), **fields}}


@pytest.mark.parametrize("text", ["-5m", "1e308h", "abc", "5", "1h-1m", "9" * 99 + "h", "9" * 5000 + "h", "NaN", "٣s"])
@pytest.mark.parametrize("field", ["executionDeadline", "activeDeadline"])
def test_a_duration_that_is_none_is_refused_by_its_field(field: str, text: str) -> None:
    with pytest.raises(Invalid, match=rf"spec\.nodes\.a\.{field} is "):
        plan(graph(task("a", **{field: text})))


@given(st.text(max_size=200))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_duration(text) <= 2**63 / 1e9
    except Invalid:
        return


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("0", 0), ("0s", 0), ("1h0m0s", 3600), ("1.5s", 1.5), ("+2m", 120), (".5h", 1800)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"Parallelism": -1}, "Parallelism is -1"),
        ({"MinSuccesses": -3}, "MinSuccesses is -3"),
        ({"Parallelism": 10**30}, "Parallelism is 1000"),
        ({"MinSuccessRatio": 2}, "MinSuccessRatio is 2"),
        ({"MinSuccessRatio": -0.5}, "MinSuccessRatio is -0.5"),
    ],
)
def test_a_map_task_that_could_not_end_is_refused_by_its_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid, match=rf"spec\.nodes\.m\.array\.{named}"):
        plan(graph(array(**fields)))


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (ExecutionSpec(active_deadline_seconds=-1), "activeDeadlineSeconds is -1"),
        (ExecutionSpec(active_deadline_seconds=10**30), "activeDeadlineSeconds is 1000"),
        (ExecutionSpec(active_deadline_seconds=10**4000), "activeDeadlineSeconds is beyond"),
        (ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=-1)), "MaxParallelism is -1"),
    ],
)
def test_a_setting_that_no_execution_can_apply_is_refused_by_its_field(spec: ExecutionSpec, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        check_execution(spec)


@pytest.mark.parametrize("seconds", [2**62, 10**12])
def test_a_deadline_in_thousands_of_years_is_none(seconds: int) -> None:
    spec = ExecutionSpec(active_deadline_seconds=seconds)
    check_execution(spec)
    assert Driver(execution(plan(graph(task("a"))), spec)).run().phase.ended


@pytest.mark.parametrize("attempts", [-5, 0, 10**12])
def test_any_number_of_attempts_is_valid(attempts: int) -> None:
    assert Driver(execution(plan(graph(task("a", retry={"minAttempts": attempts}))))).run().phase.ended


@pytest.mark.parametrize(("one", "other"), [("A", "a"), ("a_b", "a-b"), ("a b", "a-b"), ("ä", "é")])
def test_nodes_whose_pods_would_have_one_name_are_refused_by_name(one: str, other: str) -> None:
    with pytest.raises(Invalid, match=f"nodes.{one} and nodes.{other}: their pods would have the same name"):
        plan(graph(task(one), task(other)))
    with pytest.raises(Invalid, match="subWorkflows"):
        plan(graph(task("n0")), w=graph(task(one), task(other)))


def test_nodes_whose_hashed_ids_are_the_same_are_refused_by_name() -> None:
    with pytest.raises(Invalid, match="their pods would have the same name"):
        plan(graph(task("a-node-with-a-long-name-139599"), task("a-node-with-a-long-name-322382")))


def test_ids_whose_pods_have_different_names_are_accepted() -> None:
    branch = {"id": "B", "kind": "branch", "branch": {"if": {"then": "b_1"}, "else": "b-1"}}
    plan(graph(task("A"), task("a1"), task("b"), branch, task("b_1"), task("b-1")))
