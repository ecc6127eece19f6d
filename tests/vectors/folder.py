"""The folder of Flyte's vectors: where it is, what is in it, and how its files are compared.

FLYTE_VECTORS names it; else it is `shared/flyte-vectors` beside the checkout. Cases are discovered: any folder of the
same layout runs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

CHECKOUT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("FLYTE_VECTORS") or CHECKOUT.parent / "shared" / "flyte-vectors")
MISSING = f"there are no vectors in {FOLDER}: set FLYTE_VECTORS to the folder that has them"

M = TypeVar("M", bound=Message)

_SPACE = re.compile(r"\s+")


def is_here() -> bool:
    return (FOLDER / "README.md").is_file()


def found(pattern: str) -> list[Path]:
    """Paths under the folder, in order; empty where there is no such folder."""
    return sorted(FOLDER.glob(pattern))


def read(path: Path, message: M) -> M:
    """A binary message, or a JSON one."""
    if path.suffix == ".json":
        return json_format.Parse(path.read_text(), message, ignore_unknown_fields=True)
    message.ParseFromString(path.read_bytes())
    return message


def golden(path: Path) -> Any:
    return collapsed(json.loads(path.read_text()))


def collapsed(value: Any) -> Any:
    """White space in strings and keys collapsed: Go's text form of a key has unstable spacing."""
    match value:
        case str():
            return _SPACE.sub(" ", value)
        case list():
            return [collapsed(item) for item in value]
        case dict():
            return {collapsed(key): collapsed(item) for key, item in value.items()}
        case _:
            return value
