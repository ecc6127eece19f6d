"""A workflow's inputs as `--help` shows them, and propeller's options among the arguments after its name."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # help is printed without it
    from propeller.cli.flytekit_bridge import Parameter

OPTIONS_END = "an input that has the name of an option is given after --"

_AFTER = "propeller.options_after_the_entity"


class TakesInputs(click.Command):
    """A command `[OPTIONS] FILE ENTITY [--INPUT VALUE]...`.

    Behind ENTITY a word is an option of ours only if it is one in full, and stands before `--`: all other words belong
    to the inputs, whatever they begin with.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = {name: option for option in self.params for name in option.opts if name.startswith("-")}
        before, words = _split(args, options)
        own, inputs, written = _sort(words, options)
        ctx.meta[_AFTER] = written
        end = before.index("--") if "--" in before else len(before)
        rest = super().parse_args(ctx, [*before[:end], *own, *before[end:]])
        ctx.params["inputs"] = tuple(inputs)
        return rest


def options_after_entity(context: click.Context) -> tuple[str, ...]:
    """Return propeller's options that were given after ENTITY, where inputs of the same name could stand, as
    written.
    """
    return tuple(context.meta[_AFTER])


def _takes_value(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and not option.is_flag


def _split(args: list[str], options: dict[str, click.Parameter]) -> tuple[list[str], list[str]]:
    """The words up to the second that is no option, and those behind it."""
    position, found = 0, 0
    while position < len(args) and found < 2:
        word = args[position]
        option = options.get(word)
        if option is not None and _takes_value(option):
            position += 1
        elif not word.startswith("-"):
            found += 1
        position += 1
    return args[:position], args[position:]


def _sort(words: list[str], options: dict[str, click.Parameter]) -> tuple[list[str], list[str], list[str]]:
    """Words behind ENTITY: our options and their values, the inputs' words, and each option as it was written."""
    own: list[str] = []
    inputs: list[str] = []
    written: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            return own, [*inputs, *words[position:]], written
        option = options.get(word.partition("=")[0])
        if option is None:
            inputs.append(word)
            continue
        begin = len(own)
        own.append(word)
        if _takes_value(option) and "=" not in word and position < len(words):
            own.append(words[position])
            position += 1
        written.append(shlex.join(own[begin:]))
    return own, inputs, written


def describe(parameters: Sequence[Parameter]) -> list[tuple[str, str]]:
    """Return rows of the inputs for `--help`: the option and its description."""
    return [(f"--{parameter.name} {_type(parameter)}", _notes(parameter)) for parameter in parameters]


def _type(parameter: Parameter) -> str:
    return f"[{'|'.join(parameter.choices)}]" if parameter.choices else parameter.type.upper().replace(" ", "_")


def _notes(parameter: Parameter) -> str:
    text = parameter.description if parameter.description != parameter.name else ""
    note = "[required]" if parameter.required else f"[default: {parameter.default}]"
    return f"{text}  {note}" if text else note
