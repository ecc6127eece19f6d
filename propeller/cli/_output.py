"""Write to standard output and error: untrusted text cannot control the terminal, JSON keeps its values.

Errors
    Unwritten, if a disk is full or a file cannot be written. Readers that go (`| head`) are click's affair.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

import click
import orjson

from propeller.errors import PropellerError
from propeller.redaction import redact
from propeller.text import visible, visible_json


class Unwritten(PropellerError):
    """Standard output or error takes nothing."""


def say(text: str, *, to_stderr: bool = False, end: str = "\n") -> None:
    """Write text of one or more lines."""
    _write(visible(text) + end, to_stderr=to_stderr)


def say_json(value: Any, *, indented: bool = False) -> None:
    """Write a document on one line, or indented for people."""
    say_bytes(visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0)) + b"\n")


def say_bytes(content: bytes) -> None:
    """Write content that is for programs, as it is."""
    _write(content)


def say_defect(error: BaseException) -> None:
    """Write the traceback of an unexpected exception: a defect of propeller, whose text may contain untrusted data."""
    say(redact("".join(traceback.format_exception(error))), to_stderr=True, end="")


def _write(content: str | bytes, *, to_stderr: bool = False) -> None:
    try:
        click.echo(content, nl=False, err=to_stderr)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        where = "standard error" if to_stderr else "standard output"
        raise Unwritten(f"{where} cannot be written: {error.strerror}") from error
