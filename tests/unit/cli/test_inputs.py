"""Inputs on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from propeller.cli._inputs import TakesInputs, describe
from propeller.cli.flytekit_bridge import Parameter
from propeller.cli.flytekit_bridge._texts import WrongWords, parse_words

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
