"""`propeller run`: a workflow, task or launch plan of a flytekit file."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli._inputs import OPTIONS_END, TakesInputs
from propeller.cli.commands._options import config_option


@click.command("run", cls=TakesInputs, add_help_option=False, epilog=f"Note: {OPTIONS_END}.")
@click.argument("file", required=False)
@click.argument("entity", required=False, default="")
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
@click.option("--inputs-file", default="", metavar="FILE", help="Inputs by name, JSON or YAML; - is standard input.")
@click.option("--output", metavar="[text|json]", default="text", show_default=True, help="How to print.")
@click.option("--quiet", is_flag=True, help="Show neither progress nor what tasks print.")
@click.option("--full-traceback", is_flag=True, help="Show flytekit's frames of a failed task too.")
@click.option("--python", default="", metavar="PATH", help="The interpreter that has flytekit and your libraries.")
@click.option("--storage", default="", metavar="URI", help="Where outputs go: file:///... or s3://bucket/prefix.")
@click.option("--serve", default="", metavar="FILE", help="Serve the cluster for kubectl; write this kubeconfig.")
@click.option("--tls", is_flag=True, help="Serve HTTPS (needs the openssl command); for --serve.")
@click.option("--registry", default="", metavar="URI", help="Where what FILE refers to is registered.")
@click.option("--overwrite-cache", is_flag=True, help="Run cached tasks again, and cache their new outputs.")
@click.option("--max-pods", type=click.IntRange(min=1), default=None, help="Pods at once; see kubelet.max_pods.")
@config_option()
@click.option("-h", "--help", "help_", is_flag=True, help="Show this; after FILE and WORKFLOW, their inputs too.")
@click.pass_context
def command(context: click.Context, /, *, file: str | None, **given: Any) -> Any:
    """Run ENTITY (a workflow, task or launch plan) of the flytekit FILE on this machine, without a cluster.

    \b
    propeller run flow.py wf --x 3             run it, watch it, print its outputs
    propeller run flow.py wf --help            what it takes
    propeller run flow.py                      what the file has
    propeller run flow.py wf --x 3 --output json > outputs.json

    \b
    Exit codes: 0 succeeded, 1 the workflow failed, 2 a wrong call, 3 the platform failed, 130 Ctrl-C.
    """
    if file is None:
        if not given["help_"]:
            raise click.UsageError("name a file of workflows: propeller run FILE WORKFLOW [--INPUT value ...]", context)
        click.echo(context.get_help())
        return None
    from propeller.cli._run import run_file

    return run_file(context, file=file, **given)
