"""`propeller relaunch`: an execution again, all of it."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli._rerun import rerun, rerun_options


@click.command("relaunch")
@rerun_options
def command(**options: Any) -> None:
    """Run EXECUTION again under a new name, all of it, with the same inputs and settings.

    \b
    propeller relaunch a9k2m4x7 -n flytesnacks-development --name second-try
    """
    rerun(**options, recover=False)
