"""`propeller run`: a workflow, task or launch plan of a flytekit file, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from propeller.cli._event_loop import run
from propeller.cli._inputs import describe, options_after_entity
from propeller.cli._inputs_file import split_inputs
from propeller.cli._local_run import LocalRun, run_locally
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings, with_max_pods
from propeller.cli.flytekit_bridge import Versioned, interpreter, list_entities, serialize
from propeller.errors import Invalid
from propeller.text import one_line, visible

_FORMS = ("text", "json")


def run_file(
    context: click.Context,
    /,
    *,
    file: str,
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
    """Run ENTITY (a workflow, task or launch plan) of the flytekit FILE on this machine, without a cluster."""
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
    say(context.get_help())
    formatter = context.make_formatter()
    with formatter.section(f"\nInputs of {serialized.kind} {entity}"):
        rows = [(one_line(option), visible(notes)) for option, notes in describe(serialized.parameters)]
        formatter.write_dl(rows or [("none", "")])
    say(formatter.getvalue().rstrip())
