"""`propeller clusters`: the clusters of a routing table."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import Finite, cluster_options, config_option, output_option


@click.command("clusters")
@click.argument("table", required=False, default="")
@click.option("--probe/--no-probe", default=True, show_default=True, help="Connect to each cluster.")
@click.option("--deadline", default=5.0, show_default=True, type=Finite(0.1), metavar="SECONDS", help="Of a probe.")
@cluster_options
@output_option
@config_option()
def command(**given: Any) -> Any:
    """Show the clusters of TABLE: state, health, what they have of their capacity, and whether they answer.

    TABLE is a file, or routingtable/NAME for that of the cluster; by default the one that the settings name. Health and
    load are what the controller writes into the RoutingTable's status; of a file, they are counted. Kubeconfigs are
    read, and clusters reached, from where this command runs.

    \b
    propeller clusters routingtable/default
    propeller clusters --config propeller.yaml --output json | jq '.[] | select(.answer.error != "")'
    """
    from propeller.cli._clusters import show_clusters

    return show_clusters(**given)
