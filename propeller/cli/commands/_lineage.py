"""`propeller lineage`: where an output comes from."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import cluster_options, config_option, output_option


@click.command("lineage")
@click.argument("uri")
@cluster_options
@click.option("--namespace", "-n", default=None, help="Of the execution; default: all.")
@output_option
@config_option("Settings; they say how the object store is reached.")
def command(**given: Any) -> Any:
    """Say which execution, node and task version an output comes from, and with which inputs it was made.

    URI is that of a file, directory or table that a task has written, or of an outputs.pb. The FlyteWorkflow of the
    execution has to be in the cluster still.

    \b
    propeller lineage s3://bucket/data/k1/a9k2m4x7-n0-0/3f2a/model.bin
    """
    from propeller.cli._lineage import show_lineage

    return show_lineage(**given)
