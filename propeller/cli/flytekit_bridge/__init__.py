"""Files of flytekit workflows, read by the user's own interpreter: what they hold, and one of it serialized."""

from propeller.cli.flytekit_bridge._client import (
    LAPTOP,
    Entity,
    FileFailed,
    Parameter,
    Serialized,
    Versioned,
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
    "Serialized",
    "Versioned",
    "interpreter",
    "list_entities",
    "root_of",
    "serialize",
]
