"""Selectors: written and read back, matched, refused if the API server refuses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.kube import (
    FieldSelector,
    LabelSelector,
    Operator,
    Requirement,
    parse_field_selector,
    parse_label_selector,
)

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,8}[A-Za-z0-9])?", fullmatch=True)
PREFIXES = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?\.){0,2}[a-z]{1,5}/", fullmatch=True)
KEYS = st.builds(str.__add__, st.just("") | PREFIXES, NAMES)
VALUES = st.just("") | NAMES
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from([Operator.EXISTS, Operator.ABSENT])),
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.sets(VALUES, min_size=1, max_size=3).map(lambda values: tuple(sorted(values))),
    ),
)
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]))


@given(st.lists(REQUIREMENTS, max_size=4))
def test_a_label_selector_is_read_back_as_it_was_written(requirements: list[Requirement]) -> None:
    selector = LabelSelector(tuple(requirements))
    assert parse_label_selector(str(selector)) == selector


@given(st.text(alphabet="ab in()!=,<>./-_ \tnot", max_size=20))
def test_any_text_is_a_label_selector_or_invalid(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except Invalid:
        return
    assert parse_label_selector(str(selector)) == selector


@given(LABELS, st.sampled_from("abc"), st.sets(st.sampled_from(["", "x", "y"]), min_size=1))
def test_each_operator_is_the_opposite_of_its_counterpart(labels: dict[str, str], key: str, values: set[str]) -> None:
    def holds(operator: Operator) -> bool:
        return LabelSelector((Requirement(key, operator, tuple(values)),)).matches(labels)

    assert holds(Operator.IN) != holds(Operator.NOT_IN)
    assert holds(Operator.EXISTS) != holds(Operator.ABSENT)
    assert holds(Operator.IN) == (labels.get(key) in values)


@given(st.lists(REQUIREMENTS, max_size=4), LABELS)
def test_a_selector_matches_if_each_requirement_does(requirements: list[Requirement], labels: dict[str, str]) -> None:
    expected = all(requirement.matches(labels) for requirement in requirements)
    assert LabelSelector(tuple(requirements)).matches(labels) == expected


def test_no_selector_and_no_labels_go_together() -> None:
    assert parse_label_selector("  ").matches(None)
    assert parse_label_selector("!a,b!=c").matches(None)
    assert not parse_label_selector("a").matches(None)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a == b", "a=b"),
        (" a in ( y , x ) , ! b ", "a in (x,y),!b"),
        ("a notin(x)", "a!=x"),
        ("a in ()", "a="),
        ("a=in,notin", "a=in,notin"),
        ("a=,b!=", "a=,b!="),
        ("example.org/a in (x,,y)", "example.org/a in (,x,y)"),
    ],
)
def test_spellings_of_the_same_selector_are_equal(text: str, written: str) -> None:
    assert str(parse_label_selector(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "a in (",
        "a in x",
        "a-in(b)",
        "ain(b)",
        "a>1",
        "a<1",
        "a,",
        ",a",
        "a,,b",
        "=x",
        "!",
        "!a=b",
        "a=b=c",
        "a b",
        "a=two words",
        "a in (two words)",
        "a in (!b)",
        "a/b/c",
        "/a",
        "Prefix/a",
        "-a",
        "a=-b",
        "a=" + "x" * 64,
        "x" * 64,
        "é",
    ],
)
def test_selectors_that_the_server_refuses_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="label selector"):
        parse_label_selector(text)


PATHS = st.sampled_from(["metadata.name", "status.phase", "spec.nodeName"])


@given(st.lists(st.tuples(PATHS, st.booleans(), st.text(max_size=8)), max_size=4))
def test_a_field_selector_is_read_back_as_it_was_written(terms: list[tuple[str, bool, str]]) -> None:
    selector = FieldSelector(tuple(terms))
    assert parse_field_selector(str(selector)) == selector


@given(st.text(alphabet="a=!\\,", max_size=12))
def test_any_text_is_a_field_selector_or_invalid(text: str) -> None:
    try:
        selector = parse_field_selector(text)
    except Invalid:
        return
    assert parse_field_selector(str(selector)) == selector


def test_a_value_that_ends_with_a_backslash_keeps_it() -> None:
    selector = FieldSelector((("metadata.name", True, "a\\"), ("status.phase", True, "b")))
    assert parse_field_selector(str(selector)) == selector


@pytest.mark.parametrize("text", ["nonsense", "=x", "a=b=c", "a=b\\", "a=\\x"])
def test_a_field_selector_that_the_server_refuses_is_refused_here(text: str) -> None:
    with pytest.raises(Invalid, match="field selector"):
        parse_field_selector(text)


def test_fields_are_compared_as_text_and_an_absent_one_is_empty() -> None:
    selector = parse_field_selector("metadata.name=a,status.phase!=Running,spec.nodeName=")
    assert selector.matches({"metadata.name": "a", "status.phase": "Pending"})
    assert not selector.matches({"metadata.name": "a", "status.phase": "Running"})
    assert not selector.matches({"metadata.name": "a", "spec.nodeName": "n"})
