"""`propeller compile`: flytekit files to resources, to a drawing, or to a report of errors."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli._inputs import OPTIONS_END, TakesInputs
from propeller.cli._versioned import Versioned
from propeller.cli.commands._options import config_option, project_options, reading_options


@click.command("compile", cls=TakesInputs, epilog=f"Note: {OPTIONS_END}.")
@click.argument("path", metavar="FILE|DIR")
@click.argument("entity", required=False, default="")
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
@click.option("--inputs-file", default="", metavar="FILE", help="Inputs by name, JSON or YAML; - is standard input.")
@click.option("--explain", type=click.Choice(["text", "dot", "svg"]), help="Draw the graph instead.")
@click.option("--out", default="", metavar="DIR", help="Write a resource for each workflow that needs no input.")
@click.option(
    "--image",
    multiple=True,
    metavar="[NAME=]IMAGE",
    help="Image of the tasks' containers; with a name, of those that ask for {{.image.NAME}}. May be repeated.",
)
@project_options("the execution, and of its tasks")
@click.option("--version", default=Versioned().version, show_default=True, help="Of the workflow and its tasks.")
@click.option("--name", default="", metavar="NAME", help="Of the execution; default: a new random one.")
@click.option("--namespace", "-n", default="", metavar="NS", help="Of the execution; default: PROJECT-DOMAIN.")
@click.option("--raw-output-prefix", default="", metavar="URI", help="Where tasks write files and data frames.")
@click.option("--overwrite-cache", is_flag=True, help="Run cached tasks again, and cache their new outputs.")
@click.option("--registry", default="", metavar="URI", help="Where what FILE refers to is registered.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "yaml"]),
    default="json",
    show_default=True,
    help="Of the resource.",
)
@reading_options
@config_option("Settings; they say how the registry's object store is reached.")
@click.pass_context
def command(context: click.Context, /, **given: Any) -> Any:
    """Compile ENTITY of the flytekit FILE, with inputs, to a FlyteWorkflow on standard output.

    Without ENTITY every workflow of the FILE, or of each file of a DIR, is compiled and reported on; exit code 2 where
    one does not compile.

    \b
    propeller compile flow.py wf --x 3 --image ghcr.io/me/flow:v1 | kubectl create -f -
    propeller compile flow.py wf --explain text
    propeller compile flows/                        does everything compile?
    propeller compile flows/ --out resources/
    """
    from propeller.cli._compile import compile_files

    return compile_files(context, **given)
