"""Inputs on the command line."""

from __future__ import annotations

import datetime
import typing
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from propeller.cli._inputs import TakesInputs, describe
from propeller.cli.flytekit_bridge import Parameter
from propeller.cli.flytekit_bridge._texts import WrongWords, fitting, parse_words

TAKES = {"a": False, "b": False, "learning_rate": False, "q": False, "no_show": False, "flag": True}


@pytest.mark.parametrize(
    ("words", "inputs"),
    [
        (["--a", "3"], {"a": "3"}),
        (["--a=3"], {"a": "3"}),
        (["--a="], {"a": ""}),
        (["--a", "-3"], {"a": "-3"}),
        (["--learning-rate", "0.1"], {"learning_rate": "0.1"}),
        (["--flag"], {"flag": "true"}),
        (["--no-flag"], {"flag": "false"}),
        (["--flag", "--b", "x"], {"flag": "true", "b": "x"}),
        (["--no-show", "3"], {"no_show": "3"}),
        (["--q=a=b"], {"q": "a=b"}),
        (["--q", "--b"], {"q": "--b"}),
        (["--q", "--not-an-input", "--flag"], {"q": "--not-an-input", "flag": "true"}),
        (["--flag", "false"], {"flag": "false"}),
        ([], {}),
    ],
)
def test_words_are_read_as_inputs(words: list[str], inputs: dict[str, str]) -> None:
    assert parse_words(words, TAKES) == inputs


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["3"], "'3' belongs to no input"),
        (["--a", "3", "4"], "'4' belongs to no input"),
        (["--"], "'--' belongs to no input"),
        (["--a", "1", "--a", "2"], "input 'a' is given twice"),
        (["--a"], "input 'a' needs a value"),
        (["--m", "3"], "there is no input 'm'; the inputs are: a, b"),
        (["--no-a"], "there is no input 'no-a'"),
    ],
)
def test_words_that_are_no_inputs_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(WrongWords, match=says):
        parse_words(words, TAKES)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), st.text()))
def test_every_input_can_be_written_with_an_equals_sign(inputs: dict[str, str]) -> None:
    assert parse_words([f"--{name}={value}" for name, value in inputs.items()], dict.fromkeys(inputs, False)) == inputs


def test_help_says_what_is_required_and_what_is_not() -> None:
    rows = describe(
        [
            Parameter("n", "integer", True, "", "How many"),
            Parameter("mode", "choice", False, "fast", "mode", ("fast", "slow")),
        ]
    )
    assert rows == [("--n INTEGER", "How many  [required]"), ("--mode [fast|slow]", "[default: fast]")]


@click.command(cls=TakesInputs)
@click.argument("file")
@click.argument("entity")
@click.option("--output")
@click.option("--serve")
@click.option("--quiet", is_flag=True)
def _given(**given: object) -> None:
    """Prints what it was given."""
    click.echo(repr({key: given[key] for key in ("file", "entity", "output", "serve", "quiet", "inputs")}))


@pytest.mark.parametrize(
    "words",
    [
        "F E --output json --serve K --quiet --x 1",
        "--serve K F E --output json --quiet --x 1",
        "--serve K --output text --quiet F E --x 1 --output json",
        "--quiet F --serve K E --output json --x 1",
        "--serve=K --output=json --quiet -- F E --x 1",
        "--serve K --quiet -- F E --output json --x 1",
    ],
)
def test_options_may_stand_before_the_file_and_behind_the_entity_and_the_last_one_counts(words: str) -> None:
    ran = CliRunner().invoke(_given, words.split())
    assert (
        ran.output
        == repr({"file": "F", "entity": "E", "output": "json", "serve": "K", "quiet": True, "inputs": ("--x", "1")})
        + "\n"
    )


class Model:
    """A type whose values JSON writes as mappings."""


def converted(value: Any, python_type: Any) -> Any:
    return (value, python_type)


@pytest.mark.parametrize(
    ("value", "python_type", "fits"),
    [
        (3, float, 3.0),
        ([1, 0.5], list[float], [1.0, 0.5]),
        ({"a": [1]}, dict[str, list[float]], {"a": [1.0]}),
        (True, float, True),
        (3, float | None, 3.0),
        (3, int | float, 3),
        ("null", int | None, None),
        ("None", float | None, None),
        ("None", str | None, "None"),
        ("None", int, "None"),
        ([{"n": 1}], list[Model], [({"n": 1}, Model)]),
        ({"a": {"n": 1}}, dict[str, Model] | None, {"a": ({"n": 1}, Model)}),
        ([{"n": 1}], list[dict[str, int]], [{"n": 1}]),
        (["1 hour"], list[datetime.timedelta], [("1 hour", datetime.timedelta)]),
        (["PT1H"], typing.Annotated[list[datetime.timedelta], "long"], [datetime.timedelta(hours=1)]),
        (["a"], list[str], ["a"]),
        ([1], list[int] | list[float], [1]),
    ],
)
def test_values_are_given_the_types_that_an_input_has(value: Any, python_type: Any, fits: Any) -> None:
    found = fitting(value, python_type, converted)
    assert (found, type(found)) == (fits, type(fits))


def test_words_precede_the_values_of_a_file() -> None:
    assert parse_words(["--a", "1"], TAKES, {"a": "2", "learning-rate": "0.1"}) == {"a": "1", "learning_rate": "0.1"}


def test_a_value_of_a_file_that_is_no_input_is_refused() -> None:
    with pytest.raises(WrongWords, match="the file of inputs has 'm'; the inputs are: a, b"):
        parse_words([], TAKES, {"m": "2"})
