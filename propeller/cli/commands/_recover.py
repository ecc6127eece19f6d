"""`propeller recover`: run an execution again without the tasks that had succeeded."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import rerun_options


@click.command("recover")
@rerun_options
def command(**options: Any) -> None:
    """Run EXECUTION again under a new name, without the tasks that succeeded: their outputs are taken over.

    For one that failed or was aborted: what had failed, and what came after it, runs. Its workflow is the same.

    \b
    propeller recover a9k2m4x7 -n flytesnacks-development
    """
    from propeller.cli._rerun import rerun

    rerun(**options, recover=True)
