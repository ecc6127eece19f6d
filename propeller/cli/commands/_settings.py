"""`propeller settings`: what is in force."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import config_option, output_option


@click.command("settings")
@config_option()
@output_option
def command(**given: Any) -> Any:
    """Print what is in force for commands that are given this --config and run in this environment.

    A variable PROPELLER_SECTION__FIELD overrides the file. The text is TOML, and can be a file for --config.

    \b
    propeller settings --config settings.toml
    PROPELLER_CHECKPOINT__MAX_LAG=5 propeller settings --output json | jq .checkpoint
    """
    from propeller.cli._show_settings import show_settings

    return show_settings(**given)
