"""`--name value` on the command line of `propeller run`, for inputs whose names and types only the file knows."""

from __future__ import annotations

from collections.abc import Sequence

from propeller.cli.flytekit_side import Parameter
from propeller.errors import Invalid


def parse_inputs(words: Sequence[str]) -> dict[str, str]:
    """Texts by input name: `--a 3`, `--a=3`, `--learning-rate 0.1`; `--flag` is true, `--no-flag` is false.

    Raises Invalid for a word that belongs to no input.
    """
    inputs: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--") or len(word) == 2:
            raise Invalid(f"{word!r} belongs to no input: write inputs as --name value")
        name, has_value, value = word[2:].partition("=")
        if not has_value and position < len(words) and not words[position].startswith("--"):
            has_value, value = "=", words[position]
            position += 1
        if not has_value:
            name, value = (name[3:], "false") if name.startswith(("no-", "no_")) else (name, "true")
        name = name.replace("-", "_")
        if name in inputs:
            raise Invalid(f"input {name!r} is given twice")
        inputs[name] = value
    return inputs


def describe(parameters: Sequence[Parameter]) -> list[tuple[str, str]]:
    """Rows of the inputs for `--help`: the option, and what is known of it."""
    return [(f"--{parameter.name} {_type(parameter)}", _notes(parameter)) for parameter in parameters]


def _type(parameter: Parameter) -> str:
    return f"[{'|'.join(parameter.choices)}]" if parameter.choices else parameter.type.upper().replace(" ", "_")


def _notes(parameter: Parameter) -> str:
    text = parameter.description if parameter.description != parameter.name else ""
    note = "[required]" if parameter.required else f"[default: {parameter.default}]"
    return f"{text}  {note}" if text else note
