"""Settings from a file: TOML or YAML, in the sections of `propeller.config.Settings`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from propeller.config import Settings
from propeller.errors import Invalid


def load_settings(path: str | None, **storage: str) -> Settings:
    """The file's settings, defaults where it says nothing, and fields of its section `storage` that options name.

    Raises Invalid, naming the section, the field and the value.
    """
    settings = Settings() if path is None else _read(path)
    return msgspec.structs.replace(settings, storage=msgspec.structs.replace(settings.storage, **storage))


def _read(path: str) -> Settings:
    file = Path(path)
    decoders = {".toml": msgspec.toml.decode, ".yaml": msgspec.yaml.decode, ".yml": msgspec.yaml.decode}
    decode = decoders.get(file.suffix)
    if decode is None:
        raise Invalid(f"--config {path}: the name must end with .toml, .yaml or .yml, which says how to read it")
    try:
        return decode(file.read_bytes(), type=Settings)
    except OSError as error:
        raise Invalid(f"--config {path} cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise Invalid(f"--config {path}: {error}") from error
    except msgspec.DecodeError as error:
        raise Invalid(f"--config {path} does not parse: {error}") from error
