"""Variables of templates."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.tenants._variables import Template, filled


def one(text: str, **values: str) -> Any:
    (document,) = Template("t.yaml", text).documents(values)
    return document


def test_flytes_templates_are_read_as_they_are() -> None:
    text = (
        "metadata:\n  name: {{ namespace }}\n  labels: {team: '{{project}}', {{ domain }}: yes}\nspec: {cpu: {{ cpu }}}"
    )
    assert one(text, namespace="a-b", project="a", domain="b", cpu="500m") == {
        "metadata": {"name": "a-b", "labels": {"team": "a", "b": True}},
        "spec": {"cpu": "500m"},
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x: {{ n }}", 7),
        ("x: '{{ n }}'", "7"),
        ('x: "{{ n }}"', "7"),
        ("x: {{ n }}0", "70"),
        ("x: {{ yes }}", True),
        ("x: {{ padded }}", "007"),
        ("x: {{ clock }}", "1:30"),
        ("x: |\n  {{ n }}", "7"),
        ("x: a-{{ n }}-b", "a-7-b"),
        ("x: {{ none }}", "null"),
        ("x: 2026-01-01", "2026-01-01"),
    ],
)
def test_a_value_has_a_type_only_where_it_is_a_whole_scalar_without_quotes(text: str, found: Any) -> None:
    values = {"n": "7", "yes": "true", "padded": "007", "clock": "1:30", "none": "null"}
    assert one(text, **values) == {"x": found}


HOSTILE = [
    "a\nb: c",
    "a: b",
    "{x: y}",
    "[1, 2]",
    "'",
    '"',
    "# no",
    "a # b",
    "&a *a",
    "!!python/object:os.system",
    "---",
    "{{ namespace }}",
    "{{ other }}",
    "\\u0000",
    "|",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_text_whatever_it_contains(value: str) -> None:
    text = 'a: {{ v }}\nb: "{{ v }}"\nc: x{{ v }}y\nd: [{{ v }}]\n'
    assert one(text, v=value, other="no", namespace="no") == {"a": value, "b": value, "c": f"x{value}y", "d": [value]}


@given(st.text())
def test_any_value_comes_out_as_it_went_in(value: str) -> None:
    assert one("a: '{{ v }}'\nk: [x, '{{ v }}']", v=value) == {"a": value, "k": ["x", value]}


@pytest.mark.parametrize(
    "text", ["x: {{ nope }}", "{{ nope }}: x", "x: '{{ nope }}'", "x: {{ .Values.nope }}", "x: {{}}"]
)
def test_an_unknown_variable_is_named_with_its_template(text: str) -> None:
    with pytest.raises(
        Invalid, match=r"template t\.yaml uses \{\{ .*\}\}, which is no variable; there are domain, project"
    ):
        one(text, project="p", domain="d")


def test_a_variable_in_a_comment_is_nothing() -> None:
    assert one("a: 1 # {{ whatever }}") == {"a": 1}


def test_a_template_that_is_no_yaml_is_named_with_the_place() -> None:
    with pytest.raises(Invalid, match=r"template t\.yaml does not parse: line 3, column"):
        Template("t.yaml", "a: {{ b\n  }}\nc: [")


def test_a_template_cannot_make_objects_of_python() -> None:
    with pytest.raises(Invalid, match="does not parse"):
        one("a: !!python/object/apply:os.system [id]")


def test_a_file_may_have_several_documents() -> None:
    assert Template("t", "a: {{ x }}\n---\nb: {{ x }}\n").documents({"x": "1"}) == [{"a": 1}, {"b": 1}]


def test_text_is_filled_in_one_pass() -> None:
    assert filled("{{ a }}-{{b}}", {"a": "{{ b }}", "b": "x"}, "it") == "{{ b }}-x"


def test_documents_are_plain_json() -> None:
    assert yaml.safe_load(yaml.safe_dump(one("a: [1, 2.5, true, null, text]"))) == {"a": [1, 2.5, True, None, "text"]}
