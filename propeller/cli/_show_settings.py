"""`propeller settings`: print every setting and its origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from propeller.cli._output import say, say_json
from propeller.cli._settings import Loaded, Origin, load
from propeller.redaction import MASK, is_secret_name, redact


def show_settings(*, config: str | None, output: str) -> None:
    """Print what is in force for commands that are given this --config and run in this environment."""
    loaded = load(config, os.environ)
    if output == "json":
        say_json(_document(loaded), indented=True)
    else:
        say("\n".join(_lines(loaded)))


def _document(loaded: Loaded) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for section, field, value, origin in loaded.rows():
        found.setdefault(section, {})[field] = {"value": _masked(value), "source": origin.source, "place": origin.place}
    return found


def _lines(loaded: Loaded) -> list[str]:
    lines: list[str] = []
    last = ""
    for section, field, value, origin in loaded.rows():
        if section != last:
            lines += [*([""] if last else []), f"[{section}]"]
            last = section
        lines.append(f"{field} = {_toml(_masked(value))}  # {_shown(origin)}")
    return lines


def _masked(value: Any) -> Any:
    """A value without credentials, such as those in a URL or in a variable of tasks: output is pasted into tickets."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(inner, str) and inner and is_secret_name(key) else _masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, tuple | list):
        return [_masked(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def _shown(origin: Origin) -> str:
    return f"{origin.source}: {origin.place}" if origin.place else origin.source


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value) if isinstance(value, float) else msgspec.json.encode(value).decode()
