"""Templates in commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.handlers.plugins.pod._template import parse, render
from tests.unit.handlers.build import literals

VALUES = {"input": "s3://in/inputs.pb", "outputprefix": "s3://out/0", "namespace": "ns"}


def rendered(text: str, **inputs: object) -> str:
    (found,) = render([parse(text)], VALUES, literals(**inputs))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.input}}", "s3://in/inputs.pb"),
        ("{{ .Input }}", "s3://in/inputs.pb"),
        ("{{ $input }}", "s3://in/inputs.pb"),
        ("{{.INPUT}}", "s3://in/inputs.pb"),
        ("--to={{.outputPrefix}}/x", "--to=s3://out/0/x"),
        ("{{.input}}:{{.namespace}}", "s3://in/inputs.pb:ns"),
        ("{{.inputs.x}}", "value"),
        ("{{ .Inputs.x }}", "value"),
        ("{{.unknown}}", "{{.unknown}}"),
        ("{{input}}", "{{input}}"),
        ("{{.input", "{{.input"),
        ("{ {.input} }", "{ {.input} }"),
        ("", ""),
    ],
)
def test_each_form_of_template_is_filled(text: str, expected: str) -> None:
    assert rendered(text, x="value") == expected


def test_names_of_inputs_keep_their_case() -> None:
    assert rendered("{{.inputs.X}}", X="upper", x="lower") == "upper"
    with pytest.raises(Invalid):
        rendered("{{.inputs.X}}", x="lower")


def test_an_unknown_input_is_invalid_and_the_message_has_the_known_ones() -> None:
    with pytest.raises(
        Invalid, match=r"args\[0\]: template '\{\{\.inputs\.y\}\}' names input 'y'; the inputs are \['x'\]"
    ):
        rendered("{{.inputs.y}}", x=1)


def test_an_input_without_text_is_invalid() -> None:
    with pytest.raises(Invalid, match="is a map, which has no text"):
        rendered("{{.inputs.x}}", x={"a": 1})


@given(
    value=st.text(st.characters(codec="utf-8", exclude_characters="$\0"), max_size=20)
    | st.sampled_from(["{{.input}}", "{{.inputs.x}}", "{{.inputs.y}}"])
)
def test_what_a_value_contains_is_never_expanded(value: str) -> None:
    assert rendered("<{{.inputs.x}}>", x=value) == f"<{value}>"


@given(text=st.text("{}.$ inputx", max_size=20))
def test_any_text_is_rendered_or_invalid(text: str) -> None:
    try:
        rendered(text, x="v")
    except Invalid as error:
        assert "names input" in str(error)  # noqa: PT017 - most texts are fine


def test_each_text_is_rendered_by_itself() -> None:
    assert render(map(parse, ["{{.input", "}}", "{{.namespace}}"]), VALUES, literals()) == ["{{.input", "}}", "ns"]
