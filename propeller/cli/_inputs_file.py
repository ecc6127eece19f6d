"""Read a workflow's inputs from a file of JSON or YAML, or from standard input.

Errors
    Invalid, with the path and how to mend it.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from propeller.errors import Invalid
from propeller.text import one_line

STANDARD_INPUT = "-"


def split_inputs(words: Sequence[str], file: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the words of the inputs, and texts by input name of `file`, "" for none.

    As for `pyflyte run`, a last word `-` that is no input's value names standard input.
    """
    if words and words[-1] == STANDARD_INPUT and (len(words) == 1 or not _wants_value(words[-2])):
        if file:
            raise Invalid(f"--inputs-file {file} and standard input (`-`) both have inputs: leave one of them out")
        words, file = words[:-1], STANDARD_INPUT
    return tuple(words), read_inputs(file) if file else {}


def read_inputs(file: str) -> dict[str, str]:
    """Texts by input name, as they would be written on the command line. JSON is YAML, too."""
    shown = "standard input" if file == STANDARD_INPUT else f"--inputs-file {file}"
    try:
        data = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        found = yaml.safe_load(data)
    except OSError as error:
        raise Invalid(f"{shown} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"{shown} is neither JSON nor YAML: {one_line(str(error))}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise Invalid(f"{shown} must have a value for each input by its name, such as `x: 3`")
    try:
        return {name: _text(value) for name, value in found.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{shown} has a value that is no input: {one_line(str(error))}") from error


def _wants_value(word: str) -> bool:
    return word.startswith("--") and "=" not in word


def _text(value: Any) -> str:
    """The value as a word of the command line. YAML's own times are texts of ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.date):  # also a datetime
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)  # JSON has neither infinity nor NaN
    return msgspec.json.encode(value).decode()
