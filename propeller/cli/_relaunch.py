"""`propeller relaunch`: an execution again, all of it."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli._again import again_options, run_again


@click.command("relaunch")
@again_options
def command(**options: Any) -> None:
    """Run EXECUTION again under a new name, all of it, with the same inputs and settings.

    \b
    propeller relaunch a9k2m4x7 -n flytesnacks-development --name second-try
    """
    run_again(**options, recover=False)
