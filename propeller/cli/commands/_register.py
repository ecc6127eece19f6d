"""`propeller register`: into a registry."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli._versioned import Versioned
from propeller.cli.commands._options import config_option, output_option, project_options, reading_options


@click.command("register")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--registry", required=True, metavar="URI", help="file:///... or s3://bucket/prefix.")
@project_options("what is registered")
@click.option("--version", default=Versioned().version, show_default=True, help="Under which it is registered.")
@click.option(
    "--image",
    multiple=True,
    metavar="[NAME=]IMAGE",
    help="Image of the tasks' containers; with a name, of those that ask for {{.image.NAME}}. May be repeated.",
)
@output_option
@reading_options
@config_option("Settings; they say how the registry's object store is reached.")
def command(**given: Any) -> Any:
    """Register tasks, workflows and launch plans of flytekit FILEs, compiled.

    What is registered never changes: the same FILE again does nothing, and another content of a name needs another
    --version.

    \b
    propeller register flows/*.py --registry s3://flyte/registry --version v1 --image ghcr.io/me/flow:v1
    """
    from propeller.cli._register import register_files

    return register_files(**given)
