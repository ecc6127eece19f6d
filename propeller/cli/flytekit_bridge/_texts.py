"""Parse command line arguments as values of a workflow's inputs, once the file has defined them.

Part of the worker, which imports it by its bare name: it uses nothing of propeller and nothing of flytekit, and runs on
Python 3.9.
"""

from __future__ import annotations

import datetime
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Convert = Callable[[Any, Any], Any]
"""A converter of a value to a type."""

_NULLS = {"None", "null"}
"""How an empty value is written for an input that may be empty and cannot be a text."""

_ISO_DURATION = re.compile(
    r"([+-])?P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d+)?)S)?)?"
)


class WrongWords(Exception):
    """The arguments are not valid inputs; the text says which, and what to write instead."""


def parse_words(
    words: Sequence[str], flags: Mapping[str, bool], values: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Texts by input name: `--a 3`, `--a=3`, `--learning-rate 0.1`; `--flag` is true, `--no-flag` is false.

    `flags` has a name for each input, and whether it is a boolean. Any other takes the word after it, whatever that
    begins with. `values` are those of a file, by input name: words take precedence. Raises WrongWords.
    """
    for key in values or ():
        if _known(key, flags) is None:
            raise WrongWords(f"the file of inputs has {key!r}; the inputs are: {', '.join(flags) or 'none'}")
    from_file = {_known(key, flags) or key: text for key, text in (values or {}).items()}
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
    return {**from_file, **inputs}


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


def fitting(value: Any, python_type: Any, convert: Convert | None = None) -> Any:
    """Return the value with the types that the input has, which those of JSON and of converters are not.

    Converters give times for dates, and JSON gives texts for times, whole numbers for floating-point numbers, and
    mappings for models. `convert` is called with an item of a list or mapping, and its type, that none of this fits.
    """
    types = _alternatives(python_type)
    if isinstance(value, datetime.datetime) and datetime.datetime not in types and datetime.date in types:
        return value.date()
    if type(value) is int and float in types and int not in types:
        return float(value)
    if type(value) is str and str not in types:
        if type(None) in types and value in _NULLS:
            return None
        found = early_value(value, python_type)
        return value if found is None else found
    if isinstance(value, list):
        inner = _inner(types, list)
        return [_item(one, inner[-1], convert) for one in value] if inner else value
    if isinstance(value, dict):
        inner = _inner(types, dict)
        return {key: _item(one, inner[-1], convert) for key, one in value.items()} if inner else value
    return value


def _item(value: Any, python_type: Any, convert: Convert | None) -> Any:
    """The item of a list or mapping, of the type `python_type`."""
    found = fitting(value, python_type, convert)
    is_structure = isinstance(found, dict) and not any(_origin(one) is dict for one in _alternatives(python_type))
    is_text = type(found) is str and str not in _alternatives(python_type)
    return convert(found, python_type) if convert is not None and (is_structure or is_text) else found


def _inner(types: tuple[Any, ...], container: type) -> tuple[Any, ...]:
    """The arguments of the one type among these that is such a container; empty if there is none, or several."""
    found = [typing.get_args(one) for one in types if _origin(one) is container]
    return found[0] if len(found) == 1 else ()


def _origin(python_type: Any) -> Any:
    return typing.get_origin(python_type) or python_type


def _alternatives(python_type: Any) -> tuple[Any, ...]:
    """The type, or the members of a union."""
    python_type = unannotated(python_type)
    origin = typing.get_origin(python_type)
    is_union = origin is typing.Union or getattr(origin, "__name__", "") == "UnionType"
    return tuple(map(unannotated, typing.get_args(python_type))) if is_union else (python_type,)


def unannotated(python_type: Any) -> Any:
    """Return the type without what `Annotated` adds."""
    return typing.get_args(python_type)[0] if hasattr(python_type, "__metadata__") else python_type
