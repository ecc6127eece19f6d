"""What commands write to their standard streams: text of others acts on no terminal, JSON keeps its value."""

from __future__ import annotations

import traceback
from typing import Any

import click
import orjson

from propeller.redaction import redact
from propeller.text import visible, visible_json


def say(text: str, *, to_stderr: bool = False, end: str = "\n") -> None:
    """Write text, whose lines may be several."""
    click.echo(visible(text) + end, nl=False, err=to_stderr)


def say_json(value: Any, *, indented: bool = False) -> None:
    """Write a document in a line, or for people in several."""
    click.echo(visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0)))


def say_defect(error: BaseException) -> None:
    """Write the traceback of what nobody foresaw: a defect of ours, which may hold text of others."""
    say(redact("".join(traceback.format_exception(error))), to_stderr=True, end="")
