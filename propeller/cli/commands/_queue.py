"""`propeller queue`: who waits for tokens."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import PORT, Finite, cluster_options, config_option, output_option


@click.command("queue")
@cluster_options
@click.option("--pool", default="", metavar="NAME", help="Of this pool alone.")
@click.option("--tenant", default="", metavar="PATH", help="Of this project (ml) or domain (ml/production) alone.")
@click.option(
    "--first", default=20, show_default=True, type=click.IntRange(1, 500), help="How many claims of each pool to show."
)
@click.option("--watch", "-w", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--interval", default=2.0, show_default=True, type=Finite(0.1), metavar="SECONDS", help="Of --watch.")
@output_option
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="The controller's HTTP port; default: that of the pod that has the lease, or of all that divide the work.",
)
@click.option(
    "--port", type=PORT, default=10254, show_default=True, help="Port of that pod: the controller's --metrics-port."
)
@click.option("--lease", default="", metavar="NAMESPACE/NAME", help="The controller's lease; default: the settings'.")
@config_option()
def command(**given: Any) -> Any:
    """Show who waits for tokens of pools (docs/limits.md): for what, since when, behind whom, and until when.

    \b
    propeller queue --watch
    propeller queue --pool hive --tenant ml --output json | jq .claims
    propeller queue --url http://127.0.0.1:10254
    """
    from propeller.cli._queue import show_queue

    return show_queue(**given)
