"""`--help` of each command is there as fast as Python itself: what a command does is imported when it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from propeller.cli.__main__ import _COMMANDS, cli
from propeller.cli.commands._install import command as install
from propeller.cli.commands._limits import MAX_SHARDS
from propeller.config import LeaseOptions
from propeller.workflow import SHARD_KEYS

HEAVY = (
    "aiohttp",
    "aiobotocore",
    "botocore",
    "google.protobuf",
    "propeller.catalog",
    "propeller.config",
    "propeller.controller",
    "propeller.embedded",
    "propeller.kube",
    "propeller.storage",
    "rich",
    "yaml",
)
"""Which take hundreds of milliseconds together."""

_LOADED_BY_HELP = """
import contextlib, io, json, sys
import click
from propeller.cli.__main__ import cli

def show(command, words, parent):
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(click.exceptions.Exit):
        cli.main([*words, "--help"], standalone_mode=False)
    assert text.getvalue().startswith(f"Usage: {sys.argv[0]} {' '.join(words)} "), text.getvalue()
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=words[-1], parent=parent)
        for inner in command.list_commands(context):
            show(command.get_command(context, inner), [*words, inner], context)

sys.argv[0], name = "propeller", sys.argv[1]
root = click.Context(cli, info_name="propeller")
show(cli.get_command(root, name), [name], root)
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("name", [name for name in _COMMANDS if name != "dataloader"])  # pods alone call that one
def test_help_imports_nothing_of_what_the_command_does(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED_BY_HELP, name], check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout)
    assert f"propeller.cli.commands._{name}" in loaded
    assert [module for module in loaded if module.startswith(HEAVY)] == []


def test_the_namespace_that_help_of_install_names_is_the_leases() -> None:
    help_ = install.get_help(click.Context(install))
    assert f"[default: ({LeaseOptions().lease_namespace})]" in help_


def test_the_most_shards_that_help_of_controller_names_are_the_shard_keys() -> None:
    assert MAX_SHARDS == SHARD_KEYS


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """The command and all within it, each with its context."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, click.Context(inner, info_name=name, parent=context))


ALL = list(commands(cli, click.Context(cli, info_name="propeller")))


@pytest.mark.parametrize(("command", "context"), ALL, ids=[context.command_path for _, context in ALL])
def test_help_says_what_each_option_is_for_and_no_sentence_is_cut_off(
    command: click.Command, context: click.Context
) -> None:
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    assert [one.opts for one in options if not one.help] == []
    _usage, _, text = command.get_help(context).partition("\n\n")
    assert [line for line in text.splitlines() if line.endswith("...")] == []


def test_each_command_that_has_a_namespace_of_an_execution_takes_it_as_n() -> None:
    taken = {
        context.command_path: one.opts
        for command, context in ALL
        for one in command.params
        if "--namespace" in one.opts and context.info_name != "install"  # of the account, as in helm install
    }
    assert len(taken) > 8
    assert [path for path, names in taken.items() if "-n" not in names] == []
