"""`propeller get`: results of an execution or of a node."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._limits import MAX_LINES
from propeller.cli.commands._options import Finite, cluster_options, config_option, output_option


@click.command("get")
@click.argument("execution")
@click.argument("words", nargs=-1, metavar="[NODE] [inputs|outputs|error|deck|logs|links|job|metrics]")
@cluster_options
@click.option("--namespace", "-n", default=None, help="Default: the context's.")
@click.option("--attempt", type=click.IntRange(min=1), default=None, help="Of deck, logs, ...; default: the last.")
@click.option("--pod", default="", metavar="NAME", help="Whose log, of an operator's job; default: that in trouble.")
@click.option("--download", "directory", default="", metavar="DIR", help="Copy the files, and the deck, to DIR.")
@click.option(
    "--lines",
    type=click.IntRange(1, MAX_LINES),
    default=1000,
    show_default=True,
    help="Of the log of a connector's job.",
)
@click.option(
    "--token", default="", help="Where the log of a connector's job goes on, as printed with the lines before."
)
@click.option("--query", "queries", multiple=True, help="Metrics of a connector's job; default: what its service has.")
@click.option("--last", type=Finite(min=1), default=None, help="Seconds of metrics; default: since the job began.")
@output_option
@config_option("Settings: how the object store is reached, and where logs are.")
def command(**given: Any) -> Any:
    """Show inputs and outputs of an EXECUTION, or of a NODE of it (its id in `propeller status --output json`).

    \b
    propeller get a9k2m4x7                          inputs, and outputs or error
    propeller get a9k2m4x7 outputs --download out   with the files that they refer to
    propeller get a9k2m4x7 n0 deck --download out
    propeller get a9k2m4x7 n1 logs --attempt 1      of an operator's job too: --pod NAME
    propeller get a9k2m4x7 n1 links                 to its dashboards, and where the platform keeps its logs
    propeller get a9k2m4x7 n2 job                   of a connector; its logs and metrics too
    """
    from propeller.cli._get import show_results

    return show_results(**given)
