"""Files of flytekit workflows, read by the user's own interpreter: what they hold, and one of it serialized."""

from propeller.cli.flytekit_side._client import (
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
