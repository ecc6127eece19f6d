"""Write to standard output and error: untrusted text cannot control the terminal, JSON keeps its values."""

from __future__ import annotations

import traceback
from typing import Any

import click
import orjson

from propeller.redaction import redact
from propeller.text import visible, visible_json


def say(text: str, *, to_stderr: bool = False, end: str = "\n") -> None:
    """Write text of one or more lines."""
    click.echo(visible(text) + end, nl=False, err=to_stderr)


def say_json(value: Any, *, indented: bool = False) -> None:
    """Write a document on one line, or indented for people."""
    click.echo(visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0)))


def say_defect(error: BaseException) -> None:
    """Write the traceback of an unexpected exception: a defect of propeller, whose text may contain untrusted data."""
    say(redact("".join(traceback.format_exception(error))), to_stderr=True, end="")
