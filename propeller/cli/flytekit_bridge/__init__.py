"""Read files of flytekit workflows with the user's own interpreter: list their entities, serialize one."""

from propeller.cli._versioned import Versioned
from propeller.cli.flytekit_bridge._client import (
    LAPTOP,
    Entity,
    FileFailed,
    Parameter,
    Reference,
    Serialized,
    interpreter,
    list_entities,
    root_of,
    serialize,
)

__all__ = [
    "LAPTOP",
    "Entity",
    "FileFailed",
    "Parameter",
    "Reference",
    "Serialized",
    "Versioned",
    "interpreter",
    "list_entities",
    "root_of",
    "serialize",
]
