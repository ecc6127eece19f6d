"""Settings from a file: TOML or YAML, in the sections of `propeller.config.Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from propeller.config import Settings
from propeller.errors import Invalid
from propeller.redaction import place_of_yaml_error


def load_settings(path: str | None, **storage: str) -> Settings:
    """The file's settings, defaults where it says nothing, and fields of its section `storage` that options name.

    Raises Invalid, naming the section, the field and the value.
    """
    settings = Settings() if path is None else _read(path)
    return msgspec.structs.replace(settings, storage=msgspec.structs.replace(settings.storage, **storage))


def with_max_pods(settings: Settings, max_pods: int | None) -> Settings:
    """The settings with the kubelet's number of pods that an option names, if it names one."""
    if max_pods is None:
        return settings
    kubelet = msgspec.structs.replace(settings.kubelet, max_pods=max_pods)
    return msgspec.structs.replace(settings, kubelet=kubelet)


def _read(path: str) -> Settings:
    file = Path(path)
    if file.suffix not in {".toml", ".yaml", ".yml"}:
        raise Invalid(f"--config {path}: the name must end with .toml, .yaml or .yml, which says how to read it")
    try:
        content = file.read_bytes()
        return (
            msgspec.toml.decode(content, type=Settings)
            if file.suffix == ".toml"
            else msgspec.convert(_yaml(content, path), Settings)
        )
    except OSError as error:
        raise Invalid(f"--config {path} cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise Invalid(f"--config {path}: {error}") from error
    except msgspec.DecodeError as error:
        raise Invalid(f"--config {path} does not parse: {error}") from error


def _yaml(content: bytes, path: str) -> Any:
    import yaml  # here, as few have settings in YAML

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not chained: its text quotes the file's
        raise Invalid(f"--config {path} does not parse: {place_of_yaml_error(error)}") from None
