"""`propeller dataloader`: the containers beside a raw container, which bring its inputs and take its outputs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from flyteidl.core import interface_pb2, tasks_pb2
from google.protobuf.message import DecodeError

from propeller.cli._exit_codes import SUCCEEDED, exit_code
from propeller.cli._output import say
from propeller.cli.commands._options import Commands, Finite
from propeller.dataloader import (
    PROGRAM_FAILED,
    Download,
    Limits,
    ProgramFailed,
    RawContainerOptions,
    Upload,
    run_download,
    run_upload,
)
from propeller.errors import PropellerError
from propeller.redaction import redact
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import configure_logs
from propeller.text import bounded

_FLYTES_VARIABLES = {
    "FLYTE_AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "FLYTE_AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
}
"""By which flytekit gets credentials, and their names for AWS's own tools."""

_DEFAULTS, _STORE = RawContainerOptions(), StorageOptions()

_MESSAGE_CHARACTERS = 1500
"""Of a message: of a container's log, the kubelet keeps the last 2,048 bytes and 80 lines."""

_FORMS = {
    "JSON": tasks_pb2.DataLoadingConfig.JSON,
    "YAML": tasks_pb2.DataLoadingConfig.YAML,
    "PROTO": tasks_pb2.DataLoadingConfig.PROTO,
}


@click.group(cls=Commands)
def command() -> None:
    """Move a raw container's inputs and outputs between object store and files. The controller starts it in the
    containers that it adds to the pod of a ContainerTask (docs/raw-containers.md).
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both have in common."""
    for option in (
        click.option(
            "--max-bytes", type=click.IntRange(0), default=_DEFAULTS.max_bytes, show_default=True, help="Of all files."
        ),
        click.option(
            "--max-files", type=click.IntRange(0), default=_DEFAULTS.max_files, show_default=True, help="Of all values."
        ),
        click.option(
            "--max-depth",
            type=click.IntRange(0),
            default=_DEFAULTS.max_depth,
            show_default=True,
            help="Of directories.",
        ),
        click.option(
            "--max-value-bytes",
            type=click.IntRange(0),
            default=_DEFAULTS.max_value_bytes,
            show_default=True,
            help="Of a value.",
        ),
        click.option("--timeout", type=Finite(0), default=3600.0, show_default=True, help="Seconds."),
        click.option("--marks", type=click.Path(path_type=Path), help="Directory that both containers share."),
        click.option("--s3-endpoint", default=_STORE.s3_endpoint, help="URL of an S3 server; AWS without."),
        click.option("--s3-region", default=_STORE.s3_region, show_default=True, help="Region to sign for."),
    ):
        function = option(function)
    return function


@command.command()
@click.option("--from-remote", "inputs", default="", help="URI of inputs.pb; none without.")
@click.option(
    "--to-local-dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(_DEFAULTS.input_path),
    show_default=True,
    help="Where the files are written.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["JSON", "YAML", "PROTO"], case_sensitive=False),
    default="JSON",
    help="Of the file that has all values.",
)
@_options
def download(inputs: str, directory: Path, form: str, marks: Path | None, timeout: float, **rest: Any) -> int:
    """Write inputs to files: one for each value, directories for lists, maps and multipart blobs."""
    work = Download(
        inputs=inputs,
        directory=directory,
        form=_FORMS[form.upper()],
        limits=_limits(rest),
        timeout=timeout,
        marks=marks,
    )
    return _run(lambda storage: run_download(work, storage), rest)


@command.command()
@click.option(
    "--from-local-dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(_DEFAULTS.output_path),
    show_default=True,
    help="Where the program has written its files.",
)
@click.option("--to-output-prefix", "prefix", required=True, help="URI below which outputs.pb or error.pb is written.")
@click.option("--to-raw-output", "raw", required=True, help="URI below which files are uploaded.")
@click.option("--interface", required=True, help="flyteidl.core.VariableMap of the outputs, in base64.")
@click.option("--ended-file", "ended", type=click.Path(path_type=Path), help="Has content once the program has ended.")
@_options
def upload(
    directory: Path,
    prefix: str,
    raw: str,
    interface: str,
    ended: Path | None,
    marks: Path | None,
    timeout: float,
    **rest: Any,
) -> int:
    """Wait for SIGTERM, which says that the program has ended, and upload what it wrote to files."""
    try:
        outputs = interface_pb2.VariableMap.FromString(base64.b64decode(interface, validate=True))
    except (binascii.Error, ValueError, DecodeError) as error:
        raise click.BadParameter(f"is no VariableMap in base64: {error}", param_hint="--interface") from error
    work = Upload(
        outputs=outputs,
        directory=directory,
        prefix=prefix.rstrip("/"),
        raw=raw,
        limits=_limits(rest),
        timeout=timeout,
        marks=marks,
        ended=ended,
    )
    return _run(lambda storage: run_upload(work, storage), rest)


def _limits(given: dict[str, Any]) -> Limits:
    return Limits(
        bytes=given["max_bytes"],
        files=given["max_files"],
        depth=given["max_depth"],
        value_bytes=given["max_value_bytes"],
    )


def _run(work: Callable[[Storage], Awaitable[None]], given: dict[str, Any]) -> int:
    """Return the exit code: 2 for what the task's author has to mend, `PROGRAM_FAILED` if the program itself says why
    it failed, 3 for the rest. Kubernetes puts the message, the only thing that is printed, into the container's status.
    """
    configure_logs("warning")
    for name, known in _FLYTES_VARIABLES.items():
        if (value := os.environ.get(name)) and known not in os.environ:
            os.environ[known] = value
    settings = StorageOptions(s3_endpoint=given["s3_endpoint"], s3_region=given["s3_region"])

    async def main() -> None:
        async with Storage(settings, trusting=True) as storage:
            await work(storage)

    try:
        asyncio.run(main())
    except ProgramFailed as error:
        say(bounded(redact(str(error)), _MESSAGE_CHARACTERS), to_stderr=True)
        return PROGRAM_FAILED
    except PropellerError as error:
        say(f"error: {bounded(redact(str(error)), _MESSAGE_CHARACTERS)}", to_stderr=True)
        return exit_code(error)
    return SUCCEEDED
