"""Registered tasks, workflows and launch plans, by project, domain, name and version.

`Registry` is the port; `StoredRegistry` keeps the entities in an object store, by the digest of their content.
"""

from propeller.registry._api import Entity, EntityKind, Registry, RegistryConflict
from propeller.registry._options import RegistryOptions
from propeller.registry._stored import MAX_LISTED, StoredRegistry, registry_of

__all__ = [
    "MAX_LISTED",
    "Entity",
    "EntityKind",
    "Registry",
    "RegistryConflict",
    "RegistryOptions",
    "StoredRegistry",
    "registry_of",
]
