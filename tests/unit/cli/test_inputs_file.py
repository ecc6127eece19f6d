"""Files of inputs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from propeller.cli._inputs_file import read_inputs, split_inputs
from propeller.errors import Invalid


def written(directory: Path, text: str) -> str:
    file = directory / "inputs.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("", {}),
        ('{"x": 3, "s": "3"}', {"x": "3", "s": "3"}),
        ("x: null\nflag: false\nf: .nan\n", {"x": "null", "flag": "false", "f": "nan"}),
        ("xs: [1, 0.5]\nd: {a: [b]}\n", {"xs": "[1,0.5]", "d": '{"a":["b"]}'}),
        ("day: 2024-02-29\nat: 2024-02-29T12:00:00Z\n", {"day": "2024-02-29", "at": "2024-02-29T12:00:00+00:00"}),
        ("days: [2024-02-29]\n", {"days": '["2024-02-29"]'}),
    ],
)
def test_values_are_the_words_of_the_command_line(tmp_path: Path, text: str, inputs: dict[str, str]) -> None:
    assert read_inputs(written(tmp_path, text)) == inputs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "must have a value for each input by its name"),
        ("1: 2\n", "must have a value for each input by its name"),
        ("a: [", "is neither JSON nor YAML"),
        ("a: " + "[" * 100_000, "is neither JSON nor YAML"),
        ("a: !!python/object:os.system {}\n", "is neither JSON nor YAML"),
        ("a: &a [*a]\n", "has a value that is no input"),
    ],
)
def test_a_file_that_has_no_inputs_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        read_inputs(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"none\.yaml cannot be read: No such file"):
        read_inputs(str(tmp_path / "none.yaml"))


def test_a_dash_behind_the_words_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x: 3\n")))
    assert split_inputs(("--y", "4", "-"), "") == (("--y", "4"), {"x": "3"})


def test_a_dash_that_is_an_inputs_value_is_none(tmp_path: Path) -> None:
    assert split_inputs(("--name", "-"), written(tmp_path, "x: 3\n")) == (("--name", "-"), {"x": "3"})


def test_a_file_and_standard_input_are_not_both_taken() -> None:
    with pytest.raises(Invalid, match="both have inputs"):
        split_inputs(("-",), "inputs.yaml")
