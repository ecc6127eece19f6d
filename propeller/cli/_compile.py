"""`propeller compile`: flytekit files to FlyteWorkflow resources, to a drawing, or to a report of errors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson
import yaml
from click.core import ParameterSource

from propeller.cli._check import Check, check_files, files_of
from propeller.cli._event_loop import run
from propeller.cli._inputs import options_after_entity
from propeller.cli._inputs_file import split_inputs
from propeller.cli._output import say, say_bytes
from propeller.cli._registered import Linked, linked_with
from propeller.cli._render import render
from propeller.cli._settings import load_settings
from propeller.cli._workflow import new_execution_name, refuse_eager, resource_of
from propeller.cli.flytekit_bridge import Versioned, interpreter, serialize
from propeller.compiler import find_warnings
from propeller.errors import Invalid, TooLarge
from propeller.names import is_dns_label, is_dns_subdomain
from propeller.text import bounded, one_line, visible_json

ETCD_REQUEST_BYTES = 1536 * 1024
"""etcd's default limit of a request: a larger resource cannot be created."""

MAX_SHOWN = 100
"""Characters of a name in a message."""

_OF_AN_ENTITY = frozenset(
    {"inputs_file", "explain", "name", "namespace", "raw_output_prefix", "overwrite_cache", "format_"}
)
"""Options for one resource that goes to standard output."""


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    versioned: Versioned
    name: str
    namespace: str
    raw_output_prefix: str
    overwrite_cache: bool
    registry: str
    format_: str
    explain: str | None


def compile_files(
    context: click.Context,
    /,
    *,
    path: str,
    entity: str,
    inputs: tuple[str, ...],
    inputs_file: str,
    explain: str | None,
    out: str,
    image: tuple[str, ...],
    project: str,
    domain: str,
    version: str,
    name: str,
    namespace: str,
    raw_output_prefix: str,
    overwrite_cache: bool,
    registry: str,
    format_: str,
    python: str,
    timeout: int,
    config: str | None,
) -> None:
    """Compile ENTITY of the flytekit FILE, with inputs, to a FlyteWorkflow on standard output."""
    options = _Options(
        versioned=versioned_of(image, project, domain, version),
        name=name,
        namespace=namespace or f"{project}-{domain}",
        raw_output_prefix=raw_output_prefix,
        overwrite_cache=overwrite_cache,
        registry=registry,
        format_=format_,
        explain=explain,
    )
    storage = load_settings(config).storage
    if not entity:
        _require_none_of_an_entity(context)
        files = files_of(Path(path))
        by = Check(
            python=interpreter(python),
            versioned=options.versioned,
            out=out,
            registry=registry,
            storage=storage,
            limit=timeout,
        )
        context.exit(run(check_files(files, by)))
    if out:
        raise Invalid("--out goes with a FILE or DIR alone: the resource of one ENTITY goes to standard output")
    prefix = (raw_output_prefix or tempfile.gettempdir()).removeprefix("file://")
    versioned = msgspec.structs.replace(options.versioned, needs_images=explain is None)
    after = options_after_entity(context)
    words, values = split_inputs(inputs, inputs_file)
    found = run(
        serialize(
            interpreter(python),
            Path(path),
            entity,
            words,
            versioned,
            prefix,
            options=after,
            values=values,
            limit=timeout,
        )
    )
    result = _result(run(linked_with(found, registry, storage)), options)
    if isinstance(result, str):
        say(result, end="")
    else:
        say_bytes(result)


def _require_none_of_an_entity(context: click.Context) -> None:
    """Raises Invalid for an option that would do nothing without an ENTITY."""
    for option in context.command.params:
        if option.name in _OF_AN_ENTITY and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise Invalid(f"{option.opts[0]} is for one ENTITY of the FILE: name it")


def versioned_of(images: tuple[str, ...], project: str, domain: str, version: str) -> Versioned:
    """What entities of a command are made with. Raises Invalid for an image that is named twice."""
    found: dict[str, str] = {}
    for text in images:
        name, is_named, image = text.partition("=")
        if not is_named:
            name, image = "default", text
        if not name or not image:
            raise Invalid(f"--image {text!r}: write IMAGE, or NAME=IMAGE")
        if name in found:
            raise Invalid(f"--image {text}: the image {name!r} is given twice")
        found[name] = image
    image = found.pop("default", Versioned().image)
    return Versioned(project=project, domain=domain, version=version, image=image, images=found)


def _result(linked: Linked, options: _Options) -> bytes | str:
    found, registered = linked.serialized, linked.plans
    for warning in find_warnings(found.workflow.template, found.workflow.sub_workflows):
        say(f"warning: {one_line(warning)}", to_stderr=True)
    refuse_eager(found)
    if options.explain is not None:
        return render(found, options.explain, registered)
    name = options.name or new_execution_name()
    if not is_dns_subdomain(name):
        raise _no_name("--name", name, "253 small letters, digits, '-', '.'")
    if not is_dns_label(options.namespace):
        raise _no_name("--namespace", options.namespace, "63 small letters, digits, '-'")
    resource = resource_of(
        found,
        options.versioned,
        name=name,
        namespace=options.namespace,
        raw_output_prefix=options.raw_output_prefix,
        overwrite_cache=options.overwrite_cache,
        registered=registered,
    )
    return encoded(resource, options.format_)


def _no_name(option: str, name: str, characters: str) -> Invalid:
    """The error for a name that no API server would accept."""
    return Invalid(
        f"{option} {bounded(name, MAX_SHOWN)!r} is no name in Kubernetes: write {characters} at most, beginning and "
        "ending with a letter or digit"
    )


def encoded(resource: dict[str, Any], format_: str) -> bytes:
    """Encode the resource. Raises TooLarge if no API server would accept it."""
    data = orjson.dumps(resource)
    if len(data) > ETCD_REQUEST_BYTES:
        raise TooLarge(
            f"the resource has {len(data)} bytes, and etcd takes {ETCD_REQUEST_BYTES} in one request: split the "
            "workflow, register its launch plans (propeller register), or make its large constants inputs"
        )
    if format_ == "yaml":
        return yaml.safe_dump(resource, sort_keys=False).encode()
    return visible_json(data) + b"\n"
