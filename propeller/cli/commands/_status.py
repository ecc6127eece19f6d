"""`propeller status`: how an execution stands."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import cluster_options, config_option, output_option


@click.command("status")
@click.argument("execution")
@cluster_options
@click.option("--namespace", "-n", default=None, help="Default: the context's.")
@click.option("--watch", "-w", is_flag=True, help="Follow it until it has ended.")
@output_option
@click.option("--full-traceback", is_flag=True, help="Show flytekit's frames of a failed task too.")
@config_option("Settings; needed where statuses are in the object store.")
def command(**given: Any) -> Any:
    """Show an EXECUTION (the name of its FlyteWorkflow) as a tree of its nodes.

    \b
    propeller status a9k2m4x7 -n flytesnacks-development -w
    propeller status a9k2m4x7 --output json | jq .nodes
    """
    from propeller.cli._status import show_status

    return show_status(**given)
