"""`propeller relaunch`: an execution again, all of it."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import rerun_options


@click.command("relaunch")
@rerun_options
def command(**options: Any) -> None:
    """Run EXECUTION again under a new name, all of it, with the same inputs and settings.

    \b
    propeller relaunch a9k2m4x7 -n flytesnacks-development --name second-try
    """
    from propeller.cli._rerun import rerun

    rerun(**options, recover=False)
