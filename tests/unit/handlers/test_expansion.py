"""What Kubernetes makes of a pod's texts, by an expansion of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from propeller.embedded.kubelet._environment import expand
from propeller.errors import Invalid
from propeller.handlers.plugins.pod._expansion import escape
from propeller.handlers.plugins.pod._template import MAX_ARGUMENT_BYTES, parse, render
from tests.unit.handlers.build import literals

ENV = {"A": "<secret>", "": "<empty>", "B": "$(A)", "A B": "<spaced>"}

TEXTS = st.text("$()AB x", max_size=12)


def kubernetes(text: str, env: dict[str, str] = ENV) -> str:
    """Character by character, as the real kubelet goes about it."""
    out, at = "", 0
    while at < len(text):
        follows = text[at + 1 : at + 2]
        if text[at] != "$" or not follows:
            out, at = out + text[at], at + 1
        elif follows == "$":
            out, at = out + "$", at + 2
        elif follows == "(" and (end := text.find(")", at + 2)) >= 0:
            name = text[at + 2 : end]
            out, at = out + env.get(name, f"$({name})"), end + 1
        else:
            out, at = out + "$" + follows, at + 2
    return out


def received(text: str, **inputs: str) -> str:
    (found,) = render([parse(text)], {"output": "path$(A)"}, literals(**inputs))
    return kubernetes(found)


@given(value=TEXTS)
def test_a_value_reaches_the_process_as_it_is(value: str) -> None:
    assert kubernetes(escape(value)) == value
    assert received("{{.inputs.x}}", x=value) == value


@given(text=TEXTS)
def test_an_authors_text_without_templates_is_left_alone(text: str) -> None:
    assert received(text) == kubernetes(text)


@given(before=TEXTS, value=TEXTS, after=TEXTS)
@example(before="$", value="(A)", after="")
@example(before="$", value="$(A)", after="")
@example(before="$$", value="(A)", after="")
@example(before="", value="$", after="(A)")
@example(before="$(", value="A", after=")")
@example(before="$(", value="A)", after="")
@example(before="$(x$$", value=")", after="$$)$(A)")
@example(before="$", value="", after="(A)")
def test_the_authors_text_means_what_it_means_with_any_other_value(before: str, value: str, after: str) -> None:
    """A value of letters alone gives Kubernetes nothing to expand: what the author's text means is seen with it."""
    seen = received(before + "{{.inputs.x}}" + after, x=value)
    assert seen == kubernetes(f"{before}\N{WHITE SQUARE}{after}").replace("\N{WHITE SQUARE}", value)


@given(pieces=st.lists(TEXTS, min_size=2, max_size=5), data=st.data())
def test_several_values_in_a_text_do_not_meet_each_other(pieces: list[str], data: st.DataObject) -> None:
    values = {f"v{number}": data.draw(TEXTS) for number in range(len(pieces) - 1)}
    text = "".join(f"{piece}{{{{.inputs.v{number}}}}}" for number, piece in enumerate(pieces[:-1])) + pieces[-1]
    wanted = kubernetes("\N{WHITE SQUARE}".join(pieces))
    for value in values.values():
        wanted = wanted.replace("\N{WHITE SQUARE}", value.replace("\N{WHITE SQUARE}", ""), 1)
    assert received(text, **values) == wanted


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("$(A){{.output}}", "<secret>path$(A)"),
        ("$(A{{.inputs.x}})", "$(AB)"),
        ("echo $(cat {{.inputs.x}})", "echo $(cat B)"),
        ("pid $$ of {{.inputs.x}}", "pid $ of B"),
        ("{{$nothing}} $(A)", "{{$nothing}} <secret>"),
    ],
)
def test_what_a_process_gets(text: str, seen: str) -> None:
    assert received(text, x="B") == seen


@given(text=TEXTS | st.text(max_size=12))
@example("$($(A)")
@example("$(A")
@example("$$(A)")
@example("$$$(A)")
@example("$\N{LATIN SMALL LETTER E WITH ACUTE}$(A)")
@example("$(A\nB)")
def test_the_embedded_kubelet_expands_as_kubernetes_does(text: str) -> None:
    assert expand(text, ENV) == kubernetes(text)


def test_a_value_with_a_nul_is_refused_and_its_input_named() -> None:
    with pytest.raises(Invalid, match=r"args\[1\], with input 'x', has a NUL character"):
        render([parse("a"), parse("{{.inputs.x}}")], {}, literals(x="a\0b"))


def test_an_argument_that_no_process_can_be_given_is_refused_and_its_input_named() -> None:
    longest = "$" * MAX_ARGUMENT_BYTES
    assert kubernetes(render([parse("{{.inputs.x}}")], {}, literals(x=longest))[0]) == longest
    with pytest.raises(Invalid, match=rf"command\[0\], with input 'x', is {MAX_ARGUMENT_BYTES + 1} bytes long"):
        render([parse("{{.inputs.x}}")], {}, literals(x="é" * ((MAX_ARGUMENT_BYTES + 1) // 2)), "command")
