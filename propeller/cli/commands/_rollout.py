"""`propeller rollout`: a new version of the controller, step by step."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import Commands, F, cluster_options, config_option, output_option


def _options(function: F) -> F:
    config = config_option()
    return cluster_options(config(function))


@click.group("rollout", cls=Commands)
def command() -> None:
    """Let a new version of the controller, or of its settings, take the work step by step.

    Start the rollout, then run the new version beside the one that runs, such as by a second Deployment with the same
    lease and shards. It takes few shards, and is compared with the version that runs: failures, retries, status writes,
    latency. If it is no worse it takes more; if it is, it gives all back (docs/scale.md). It takes more once it has had
    its shards for rollout.bake seconds and has done enough for a bad version to show, however slow the machine is;
    status says what it waits for. If too little happens for rollout.longest seconds, it is held until you promote or
    abort it.

    \b
    propeller rollout start --to 2.0         shards.version, or what the status shows
    propeller rollout status --wait          exit code 3 if it was rolled back
    propeller rollout promote --all          at once, whatever was seen
    propeller rollout abort
    """


@command.command("start")
@click.option("--to", "candidate", default="", metavar="VERSION", help="The new version; default: the other one.")
@click.option(
    "--from", "current", default="", metavar="VERSION", help="The one that runs; default: that of the shards."
)
@click.option(
    "--by",
    type=click.Choice(["clusters", "shards"]),
    default=None,
    help="What it takes first; default: clusters, if some have shards of their own (shards.clusters).",
)
@click.option("--wait", is_flag=True, help="Until it is over; exit code 3 if it was rolled back.")
@_options
def start(**given: Any) -> Any:
    """Start to give shards to a new version. The stages and what is judged are settings (rollout).

    By clusters it first takes the executions of one cluster after the other: of those that have a shard of their own,
    one that bakes comes first, then the one of the lowest priority, as the routing table says that the settings name.
    """
    from propeller.cli._rollout import start

    return start(**given)


@command.command("status")
@output_option
@click.option("--wait", is_flag=True, help="Until it is over; exit code 3 if it was rolled back.")
@_options
def status(**given: Any) -> Any:
    """Show the rollout: its stage, why it is there, and what each version holds and has done."""
    from propeller.cli._rollout import status

    return status(**given)


@command.command("promote")
@click.option("--all", "whole", is_flag=True, help="Give it all shards, not those of the next stage.")
@_options
def promote_it(**given: Any) -> Any:
    """Go on to the next stage now, whatever was seen."""
    from propeller.cli._rollout import promote_it

    return promote_it(**given)


@command.command("abort")
@click.option("--reason", default="aborted by hand", show_default=True, help="What the status says of it.")
@_options
def abort_it(**given: Any) -> Any:
    """Give all shards back to the version that runs. The other gets none until another rollout of it is started."""
    from propeller.cli._rollout import abort_it

    return abort_it(**given)
