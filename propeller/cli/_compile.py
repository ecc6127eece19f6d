"""`propeller compile`: a flytekit file to a FlyteWorkflow resource, ready to create on a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from propeller.cli._inputs import parse_inputs
from propeller.cli._loop import run
from propeller.cli._workflow import new_execution_name, resource_of
from propeller.cli.flytekit_side import Versioned, interpreter, serialize
from propeller.errors import TooLarge

ETCD_REQUEST_BYTES = 1536 * 1024
"""etcd's default limit of a request: a larger resource cannot be created."""


@click.command("compile", context_settings={"ignore_unknown_options": True})
@click.argument("file")
@click.argument("entity")
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
@click.option("--image", default=Versioned().image, metavar="IMAGE", help="Image of the tasks' containers.")
@click.option("--project", default=Versioned().project, show_default=True)
@click.option("--domain", default=Versioned().domain, show_default=True)
@click.option("--version", default=Versioned().version, show_default=True)
@click.option("--name", default="", metavar="NAME", help="Of the execution; default: a new random one.")
@click.option("--namespace", default="", metavar="NS", help="Default: PROJECT-DOMAIN.")
@click.option("--raw-output-prefix", default="", metavar="URI", help="Where tasks write files and data frames.")
@click.option("--format", "format_", type=click.Choice(["json", "yaml"]), default="json", show_default=True)
@click.option("--python", default="", metavar="PATH", help="The interpreter that has flytekit and your libraries.")
def command(
    *,
    file: str,
    entity: str,
    inputs: tuple[str, ...],
    image: str,
    project: str,
    domain: str,
    version: str,
    name: str,
    namespace: str,
    raw_output_prefix: str,
    format_: str,
    python: str,
) -> None:
    """Compile ENTITY of the flytekit FILE, with inputs, to a FlyteWorkflow on standard output.

    \b
    propeller compile flow.py wf --x 3 --image ghcr.io/me/flow:v1 | kubectl create -f -
    """
    versioned = Versioned(project=project, domain=domain, version=version, image=image)
    found = run(
        serialize(
            interpreter(python),
            Path(file),
            entity,
            parse_inputs(inputs),
            versioned,
            (raw_output_prefix or tempfile.gettempdir()).removeprefix("file://"),
        )
    )
    resource = resource_of(
        found,
        versioned,
        name=name or new_execution_name(),
        namespace=namespace or f"{project}-{domain}",
        raw_output_prefix=raw_output_prefix,
    )
    click.echo(_text(resource, format_), nl=False)


def _text(resource: dict[str, Any], format_: str) -> bytes:
    encoded = orjson.dumps(resource)
    if len(encoded) > ETCD_REQUEST_BYTES:
        raise TooLarge(
            f"the resource has {len(encoded)} bytes, and etcd takes {ETCD_REQUEST_BYTES} in one request: split the "
            "workflow into launch plans or sub-workflows, or make its large constants inputs"
        )
    if format_ == "yaml":
        return yaml.safe_dump(resource, sort_keys=False).encode()
    return encoded + b"\n"
