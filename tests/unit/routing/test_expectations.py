"""A table is checked against what it is expected to do."""

from __future__ import annotations

import pytest

from propeller.routing import InvalidTable, differences, parse_expectations, parse_running
from tests.unit.routing.tables import ALL, ANY, clusters, pool, rule, table

OF = table(
    *clusters("a", "b", "g"),
    pool("gpu", "g"),
    pool("rest", "a", "b"),
    rule("gpu", "gpu", isolate=True, resources={"nvidia.com/gpu": 1}),
    rule("rest", "rest"),
)


def differing(*lines: str) -> list[str]:
    text = "expectations:\n" + "".join(f"  - {line}\n" for line in lines)
    return [str(one) for one in differences(OF, parse_expectations(text.encode(), "e.yaml"))]


@pytest.mark.parametrize(
    "line",
    [
        "{expect: {clusters: [a, b]}}",
        "{expect: {rule: rest, pool: rest}}",
        "{task: {resources: {nvidia.com/gpu: 2}}, expect: {clusters: [g], rule: gpu}}",
        "{task: {resources: {nvidia.com/gpu: 2}}, down: [g], expect: {waits: true, rule: gpu}}",
        "{task: {resources: {nvidia.com/gpu: 2}}, down: [g], expect: {rule: gpu}}",
        "{down: [b], expect: {clusters: [a]}}",
        "{execution: {cluster: b}, expect: {clusters: [b]}}",
    ],
)
def test_what_is_met_is_no_difference(line: str) -> None:
    assert differing(line) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{expect: {clusters: [a]}}", "expectation 1: expected cluster a; rule rest: b, of pool rest"),
        ("{name: n, expect: {pool: gpu}}", "expectation 1 (n): expected pool gpu; rule rest: "),
        ("{expect: {waits: true}}", "expected to wait; rule rest: "),
        ("{down: [a, b], expect: {clusters: [a]}}", "expected cluster a; no cluster can take it: rule rest: "),
        ("{down: [a, b], expect: {waits: true, rule: gpu}}", "expected to wait, rule gpu; no cluster can take it"),
        ("{expect: {clusters: [a, z]}}", "expected cluster z; the table has no such cluster"),
        ("{down: [z], expect: {waits: true}}", "expected cluster z; the table has no such cluster"),
    ],
)
def test_what_is_not_met_is_said_with_what_happens_instead(line: str, words: str) -> None:
    (found,) = differing(line)
    assert words in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "there are no expectations"),
        ("[]", "has to be an object, and is a list"),
        ("expectations: [x]", "line 1, column 16: expectations[0]: has to be an object, and is 'x'"),
        ("expectations: [{}]", "expectations[0]: expect is missing"),
        ("expectations: [{expect: {}}]", "expectations[0].expect: says nothing"),
        ("expectations: [{expect: {wait: true}}]", "there is no field 'wait'; did you mean waits?"),
        ("expectations: [{expect: {waits: true, pool: x}}]", "says that it waits, and where it goes"),
        (
            "expectations: [{expect: {pool: x}, task: {resources: {cpu: 1x}}}]",
            "expectations[0].task.resources.cpu: '1x' is not a quantity",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_places(text: str, words: str) -> None:
    with pytest.raises(InvalidTable) as raised:
        parse_expectations(text.encode(), "e.yaml")
    assert words in str(raised.value)
    assert str(raised.value).startswith("e.yaml: line 1")


def test_an_expectation_without_a_key_has_to_hold_for_any_execution() -> None:
    of = table(*clusters("a", "b"), ALL, ANY)
    expected = parse_expectations(b"expectations: [{expect: {clusters: [a]}}]", "")
    assert len(list(differences(of, expected))) == 1
    keyed = b"expectations: [{execution: {key: %s}, expect: {clusters: [a]}}]"
    assert {len(list(differences(of, parse_expectations(keyed % b"n/%d" % n, "")))) for n in range(20)} == {0, 1}


def test_executions_are_read_from_a_list() -> None:
    found = parse_running(b"executions: [{key: n/a, project: ml, labels: {x: y}, cluster: c}]", "r.yaml")
    assert [(one.subject.key, one.subject.project, one.subject.labels, one.cluster) for one in found] == [
        ("n/a", "ml", {"x": "y"}, "c")
    ]
    with pytest.raises(InvalidTable, match=r"r.yaml: line 1, column 14: executions\[0\]: key is missing"):
        parse_running(b"executions: [{project: ml}]", "r.yaml")
