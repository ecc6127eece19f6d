"""`propeller cache`: list and remove cached outputs; say why a node's are not cached."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import Commands, F, cluster_options, config_option, output_option, project_options


def _options(function: F) -> F:
    for option in (
        output_option,
        config_option("Settings; they say where the cache is."),
        click.option(
            "--prefix",
            default="",
            metavar="URI",
            help="Where the cache is: an object store, or a database as in catalog.backend; default: the settings'.",
        ),
    ):
        function = option(function)
    return function


_of_task = project_options("the task")


@click.group("cache", cls=Commands)
def command() -> None:
    """Outputs of tasks that are kept for later executions (docs/caching.md).

    \b
    propeller cache ls
    propeller cache ls flow.square
    propeller cache explain a9k2m4x7 n0 -n flytesnacks-development
    propeller cache rm flow.square
    """


@command.command("ls")
@click.argument("task", default="")
@_of_task
@_options
def list_entries(**given: Any) -> Any:
    """List cached tasks, or the entries of TASK (its name, as in the module: `flow.square`)."""
    from propeller.cli._cache import list_entries

    return list_entries(**given)


@command.command("rm")
@click.argument("task")
@_of_task
@click.option("--version", default="", help="Of this cache version alone.")
@click.option("--older-than", default="", metavar="AGE", help="Only what is older: 90m, 12h, 30d.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@_options
def remove_entries(**given: Any) -> Any:
    """Remove the entries of TASK: its later executions compute again. Files that they refer to stay."""
    from propeller.cli._cache import remove_entries

    return remove_entries(**given)


@command.command("explain")
@click.argument("execution")
@click.argument("node")
@cluster_options
@click.option("--namespace", "-n", default=None, help="Default: the context's.")
@_options
def explain_node(**given: Any) -> Any:
    """Say whether the outputs of a NODE of an EXECUTION are cached, and if not, in what it differs from what is.

    NODE is its id as `propeller status` shows it (n0), or in JSON for a node inside another (n0-0-n1).
    """
    from propeller.cli._cache import explain_node

    return explain_node(**given)
