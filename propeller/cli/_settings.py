"""Load the settings: the environment overrides the file of --config, and each value has its origin.

Guarantees
    A variable `PROPELLER_SECTION__FIELD` overrides `section.field` of the file, which overrides the default. A name
    that does not exist or a value of the wrong type is refused in both. Other variables that begin with PROPELLER_ are
    ignored: Kubernetes itself sets some for a Service of that name.
Errors
    Invalid, naming the file or the variable, the setting and the expected value.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import msgspec

from propeller.cli._setting_lines import lines_of_toml, lines_of_yaml
from propeller.config import Settings
from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid
from propeller.redaction import place_of_yaml_error, redact
from propeller.text import bounded

PREFIX = "PROPELLER_"

MAX_SHOWN = 100
"""Characters of a variable's value in a message."""

MAX_REASON = 1_000
"""Characters of why values are refused: some messages have them."""

_PLACE = re.compile(r"at `\$\.(\w+)(?:\.(\w+))?")
_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


class Origin(msgspec.Struct, frozen=True):
    """The origin of a value: `source` is `default`, `file` or `environment`, `place` the line or the variable."""

    source: str
    place: str = ""


DEFAULT = Origin("default")


class Loaded(msgspec.Struct, frozen=True):
    settings: Settings
    origins: Mapping[tuple[str, str], Origin]
    """Origins by section and field; a setting that is missing here has its default."""

    def rows(self) -> Iterator[tuple[str, str, Any, Origin]]:
        """Section, field, value and origin of every setting, in the order of docs/settings.md."""
        for section in self.settings.__struct_fields__:
            for field, value in msgspec.structs.asdict(getattr(self.settings, section)).items():
                yield section, field, value, self.origins.get((section, field), DEFAULT)


def load_settings(path: str | None, **storage: str) -> Settings:
    """Load the settings; `storage` fields from options override all others. Raises Invalid."""
    settings = load(path, os.environ).settings
    return msgspec.structs.replace(settings, storage=msgspec.structs.replace(settings.storage, **storage))


def load(path: str | None, environment: Mapping[str, str]) -> Loaded:
    """As `load_settings`, with the origin of each value."""
    given, origins = _of_file(path) if path is not None else ({}, {})
    overriding = dict(_of_environment(environment))
    for (section, field), (name, value) in overriding.items():
        given.setdefault(section, {})[field] = value
        origins[section, field] = Origin("environment", name)
    try:
        return Loaded(msgspec.convert(given, Settings), origins)
    except msgspec.ValidationError as error:  # of the file it was checked: values do not fit together
        found = _PLACE.search(str(error))
        section, field = found.groups() if found else ("", "")
        inside = {of: name for (where, of), (name, _) in overriding.items() if where == section}
        names = [inside[field]] if field in inside else sorted(inside.values())
        raise Invalid(f"{', '.join(names)} in the environment: {bounded(str(error), MAX_REASON)}") from error


def with_max_pods(settings: Settings, max_pods: int | None) -> Settings:
    """The settings with the kubelet's number of pods that an option names, if it names one."""
    if max_pods is None:
        return settings
    kubelet = msgspec.structs.replace(settings.kubelet, max_pods=max_pods)
    return msgspec.structs.replace(settings, kubelet=kubelet)


def lease_of(option: str) -> tuple[str, str]:
    """Namespace and name of the lease that `--lease` names. Raises BadParameter."""
    namespace, _, name = option.partition("/")
    if not namespace or not name or "/" in name:
        raise click.BadParameter(f"{option!r} is not NAMESPACE/NAME", param_hint="--lease")
    return namespace, name


def variable(section: str, field: str) -> str:
    """The name of the variable that overrides a setting."""
    return f"{PREFIX}{section}__{field}".upper()


def _types() -> dict[tuple[str, str], Any]:
    sections = get_type_hints(Settings)
    return {
        (name, field): found for name, class_ in sections.items() for field, found in get_type_hints(class_).items()
    }


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], tuple[str, Any]]]:
    """The settings that variables name, with the variable and its value. Raises Invalid."""
    ours = {name: value for name, value in sorted(environment.items()) if name.upper().startswith(PREFIX)}
    if not ours:
        return
    types = _types()
    known = {variable(*setting): setting for setting in types}
    mistaken = {name.replace("__", "_"): name for name in known}
    for name, text in ours.items():
        if name in known:
            yield known[name], (name, _value(name, text, types[known[name]]))
        elif name.upper() in known or name.upper().replace("__", "_") in mistaken:
            right = mistaken[name.upper().replace("__", "_")]
            raise Invalid(f"{name} in the environment is no setting: it is written {right}")
        elif "__" in name.removeprefix(PREFIX):
            near = difflib.get_close_matches(name.upper(), known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise Invalid(f"{name} in the environment is no setting: {hint}propeller settings prints all of them")


def _value(name: str, text: str, type_: Any) -> Any:
    """Parse a value of the setting's type. Lists are separated by commas, or JSON; tables are JSON."""
    origin = get_origin(type_)
    value: Any = text
    try:
        if origin is dict or (origin is tuple and text.lstrip().startswith("[")):
            value = msgspec.json.decode(text)
        elif origin is tuple:
            value = [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.convert(value, type_, strict=False)
    except UNDECODABLE:  # not chained: a table may have passwords
        shown = "" if origin is dict else f"={bounded(redact(text), MAX_SHOWN)!r}"
        raise Invalid(f"{name}{shown} in the environment: it takes {_wanted(type_)}") from None


def _wanted(type_: Any) -> str:
    """Describe the expected value."""
    origin, of = get_origin(type_), get_args(type_)
    if origin is Literal:
        return f"one of {', '.join(map(str, of))}"
    if origin is tuple and (of[0] in _KINDS or get_origin(of[0]) is Literal):
        return f"{_wanted(of[0])}, several separated by commas, or a list in JSON"
    if origin is tuple:
        return "a list of tables in JSON"
    if origin is dict:
        return f"a table in JSON, of {_KINDS[of[1]]} by name" if of[1] in _KINDS else "a table in JSON"
    return _KINDS.get(type_, str(type_))


def _of_file(path: str) -> tuple[dict[str, Any], dict[tuple[str, str], Origin]]:
    """The sections of a file that is right by itself, and the lines of its fields."""
    file = Path(path)
    if file.suffix not in {".toml", ".yaml", ".yml"}:
        raise Invalid(f"--config {path}: the name must end with .toml, .yaml or .yml, which says how to read it")
    try:
        content = file.read_bytes()
        document = msgspec.toml.decode(content) if file.suffix == ".toml" else _yaml(content, path)
        msgspec.convert(document, Settings)
    except OSError as error:
        raise Invalid(f"--config {path} cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise Invalid(f"--config {path}: {bounded(str(error), MAX_REASON)}") from error
    except UNDECODABLE as error:
        raise Invalid(f"--config {path} does not parse: {error}") from error
    lines = lines_of_toml(content.decode()) if file.suffix == ".toml" else lines_of_yaml(content)
    places = {
        (section, field): Origin("file", f"{path}:{line}" if (line := lines.get((section, field))) else path)
        for section, fields in document.items()
        for field in fields
    }
    return document, places


def _yaml(content: bytes, path: str) -> Any:
    import yaml  # here, as few have settings in YAML

    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not chained: its text quotes the file's
        raise Invalid(f"--config {path} does not parse: {place_of_yaml_error(error)}") from None
    return {} if found is None else found  # as TOML's, a file may have comments alone
