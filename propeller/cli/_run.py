"""`propeller run`: a workflow, task or launch plan of a flytekit file, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from propeller.cli._event_loop import run
from propeller.cli._inputs import TakesInputs, describe, options_after_entity
from propeller.cli._inputs_file import split_inputs
from propeller.cli._local_run import LocalRun, run_locally
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings, with_max_pods
from propeller.cli.flytekit_bridge import Versioned, interpreter, list_entities, serialize
from propeller.errors import Invalid
from propeller.text import one_line, visible

_OPTIONS_END = "an input that has the name of an option is given after --"

_FORMS = ("text", "json")


@click.command("run", cls=TakesInputs, add_help_option=False, epilog=f"Note: {_OPTIONS_END}.")
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
@click.option("--config", default=None, metavar="FILE", help="Settings, TOML or YAML; see docs/settings.md.")
@click.option("-h", "--help", "help_", is_flag=True, help="Show this; after FILE and WORKFLOW, their inputs too.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    file: str | None,
    entity: str,
    inputs: tuple[str, ...],
    inputs_file: str,
    output: str,
    quiet: bool,
    full_traceback: bool,
    python: str,
    storage: str,
    serve: str,
    tls: bool,
    registry: str,
    overwrite_cache: bool,
    max_pods: int | None,
    config: str | None,
    help_: bool,
) -> None:
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
        if not help_:
            raise click.UsageError("name a file of workflows: propeller run FILE WORKFLOW [--INPUT value ...]", context)
        click.echo(context.get_help())
        return
    path, python = Path(file), interpreter(python)
    if not entity:
        _show_entities(path, python, as_json=output == "json")
        return
    if help_:
        _show_inputs(context, path, python, entity, as_json=output == "json")
        return
    after = options_after_entity(context)
    try:
        if output not in _FORMS:
            raise click.BadParameter(f"{output!r} is not one of 'text', 'json'.", context, param_hint="'--output'")
        if tls and not serve:
            raise click.UsageError("--tls is for a cluster that is served: add --serve FILE", context)
        settings = load_settings(config)
        words, values = split_inputs(inputs, inputs_file)
    except (click.UsageError, Invalid):
        if after:  # it may be the value of an input
            run(serialize(python, path, entity, inputs, Versioned(), "/dev/null", options=after))
        raise
    request = LocalRun(
        file=path,
        entity=entity,
        words=words,
        values=values,
        options=after,
        python=python,
        as_json=output == "json",
        quiet=quiet,
        full_traceback=full_traceback,
        storage=storage,
        serve=serve,
        tls=tls,
        overwrite_cache=overwrite_cache,
        registry=registry,
        settings=with_max_pods(settings, max_pods),
    )
    context.exit(run(run_locally(request)))


def _show_entities(path: Path, python: str, *, as_json: bool) -> None:
    entities = run(list_entities(python, path))
    if as_json:
        say_json({"entities": [{"name": one.name, "kind": one.kind, "text": one.text} for one in entities]})
        return
    if not entities:
        raise Invalid(f"{path} has no workflow, task or launch plan at its top level")
    width = max(len(entity.name) for entity in entities)
    say(f"{path} has:")
    for entity in entities:
        say(one_line(f"  {entity.name:<{width}}  {entity.kind:<11}  {entity.text}".rstrip()))
    say(f"\nRun one: propeller run {path} {one_line(entities[0].name)} [--INPUT value ...]")


def _show_inputs(context: click.Context, path: Path, python: str, entity: str, *, as_json: bool) -> None:
    serialized = run(serialize(python, path, entity, (), Versioned(), "/dev/null"))
    if as_json:
        inputs = msgspec.to_builtins(serialized.parameters)
        say_json({"name": entity, "kind": serialized.kind, "inputs": inputs})
        return
    click.echo(context.get_help())
    formatter = context.make_formatter()
    with formatter.section(f"\nInputs of {serialized.kind} {entity}"):
        rows = [(one_line(option), visible(notes)) for option, notes in describe(serialized.parameters)]
        formatter.write_dl(rows or [("none", "")])
    say(formatter.getvalue().rstrip())
