"""Parse command line arguments as values of a workflow's inputs, once the file has defined them.

Part of the worker, which imports it by its bare name: it uses nothing of propeller and nothing of flytekit, and runs on
Python 3.9.
"""

from __future__ import annotations

import datetime
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

_ISO_DURATION = re.compile(
    r"([+-])?P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d+)?)S)?)?"
)


class WrongWords(Exception):
    """The arguments are not valid inputs; the text says which, and what to write instead."""


def parse_words(words: Sequence[str], flags: Mapping[str, bool]) -> dict[str, str]:
    """Texts by input name: `--a 3`, `--a=3`, `--learning-rate 0.1`; `--flag` is true, `--no-flag` is false.

    `flags` has a name for each input, and whether it is a boolean. Any other takes the word after it, whatever that
    begins with. Raises WrongWords.
    """
    inputs: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--") or len(word) == 2:
            raise WrongWords(f"{word!r} belongs to no input: write inputs as --name value")
        text, has_value, value = word[2:].partition("=")
        name = _known(text, flags)
        if name is None and not has_value and text[:3] in {"no-", "no_"} and flags.get(_known(text[3:], flags) or ""):
            name, has_value, value = _known(text[3:], flags), "=", "false"
        if name is None:
            raise WrongWords(f"there is no input {text!r}; the inputs are: {', '.join(flags) or 'none'}")
        if not has_value and position < len(words) and not (flags[name] and words[position].startswith("--")):
            has_value, value = "=", words[position]
            position += 1
        if not has_value:
            if not flags[name]:
                raise WrongWords(f"input {name!r} needs a value: write --{text} VALUE")
            value = "true"
        if name in inputs:
            raise WrongWords(f"input {name!r} is given twice")
        inputs[name] = value
    return inputs


def _known(text: str, names: Mapping[str, bool]) -> str | None:
    """The input that `text` means: by its name, or with dashes for underscores."""
    return next((name for name in (text, text.replace("-", "_")) if name in names), None)


def time_of(text: str) -> datetime.datetime | None:
    """A time of ISO 8601 with a date, with or without a zone; None if it is none."""
    text = text.strip()
    if text[-1:] in {"Z", "z"}:
        text = text[:-1] + "+00:00"
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def duration_of(text: str) -> datetime.timedelta | None:
    """A duration of ISO 8601 in weeks, days, hours, minutes and seconds; None if it is none."""
    found = _ISO_DURATION.fullmatch(text.strip())
    if found is None:
        return None
    sign, weeks, days, hours, minutes, seconds = found.groups()
    length = datetime.timedelta(
        weeks=int(weeks or 0),
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=float((seconds or "0").replace(",", ".")),
    )
    return -length if sign == "-" else length


def early_value(text: str, python_type: Any) -> Any:
    """Return the value of a text if it is unambiguous without asking flytekit; else None."""
    types = _alternatives(python_type)
    if datetime.datetime in types or datetime.date in types:
        time = time_of(text) if "-" in text else None
        if time is not None:
            return fitting(time, python_type)
    if datetime.timedelta in types:
        return duration_of(text)
    return None


def fitting(value: Any, python_type: Any) -> Any:
    """The value with times and dates as its type has them: converters give times for dates, and JSON gives texts."""
    types = _alternatives(python_type)
    if isinstance(value, datetime.datetime) and datetime.datetime not in types and datetime.date in types:
        return value.date()
    if isinstance(value, str) and str not in types:
        found = early_value(value, python_type)
        return value if found is None else found
    origin, inner = typing.get_origin(_unannotated(python_type)), typing.get_args(_unannotated(python_type))
    if isinstance(value, list) and origin is list and inner:
        return [fitting(item, inner[0]) for item in value]
    if isinstance(value, dict) and origin is dict and len(inner) == 2:
        return {key: fitting(item, inner[1]) for key, item in value.items()}
    return value


def _alternatives(python_type: Any) -> tuple[Any, ...]:
    """The type, or the members of a union."""
    python_type = _unannotated(python_type)
    origin = typing.get_origin(python_type)
    is_union = origin is typing.Union or getattr(origin, "__name__", "") == "UnionType"
    return tuple(map(_unannotated, typing.get_args(python_type))) if is_union else (python_type,)


def _unannotated(python_type: Any) -> Any:
    return typing.get_args(python_type)[0] if hasattr(python_type, "__metadata__") else python_type
