"""`propeller controller`: the FlyteWorkflow controller."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._limits import DEFAULT_SHARDS, MAX_SHARDS
from propeller.cli.commands._options import PORT_OR_ANY, cluster_options, config_option
from propeller.telemetry import LOG_LEVELS, LogFormat


@click.command("controller")
@cluster_options
@click.option("--namespace", "-n", default=None, help="Run the workflows of this namespace only; default: of all.")
@config_option()
@click.option(
    "--metadata-prefix", default=None, metavar="URI", help="Where inputs and outputs live (s3://..., file://...)."
)
@click.option("--elect/--no-elect", default=True, show_default=True, help="Act only while holding the lease.")
@click.option(
    "--lease",
    default="",
    metavar="NAMESPACE/NAME",
    help="The lease; default: election.lease_namespace and lease_name of the settings, flyte/propeller-controller.",
)
@click.option(
    "--metrics-port",
    type=PORT_OR_ANY,
    default=10254,
    show_default=True,
    help="/metrics, /healthz, /readyz and /queue; 0: any free port.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True, help="Address to serve them on; pods want 0.0.0.0."
)
@click.option(
    "--shards",
    type=click.IntRange(0, MAX_SHARDS),
    default=None,
    metavar="N",
    help="Divide the workflows into so many shards among all controllers; default: shards.count of the settings.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help=f"Processes on this machine, which divide the workflows (--shards, {DEFAULT_SHARDS} unless it says more).",
)
@click.option("--process", default="", hidden=True, help="Under a supervisor: which process this is.")
@click.option("--report-to", type=int, default=None, hidden=True, help="Under a supervisor: its file descriptor.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="What is logged.")
@click.option(
    "--log-format",
    type=click.Choice([str(f) for f in LogFormat]),
    default="human",
    show_default=True,
    help="A line of text or of JSON for each record.",
)
def command(**given: Any) -> Any:
    """Run every FlyteWorkflow of a cluster, until SIGTERM or Ctrl-C.

    \b
    propeller install --print | kubectl apply -f -            once, before
    propeller controller --metadata-prefix s3://bucket/meta
    """
    from propeller.cli._controller import run_controller

    return run_controller(**given)
