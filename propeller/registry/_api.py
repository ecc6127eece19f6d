"""The port of a registry: what registered entities are, and what may be asked of whatever keeps them.

Guarantees
    An entity never changes: one name, in one version, has one content for ever.
    What `find` returns is what was registered, as its digest shows.
Errors
    RegistryConflict for other content under a name and version that are taken; CorruptBlob for content that is not what
    was registered; StorageError, worth a retry; Invalid for a name that cannot be one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from propeller.errors import Invalid
from propeller.workflow import entity_path


class EntityKind(StrEnum):
    """What is registered. The values are directories of the registry."""

    TASK = "task"
    WORKFLOW = "workflow"
    LAUNCH_PLAN = "launch_plan"

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


class Entity(msgspec.Struct, frozen=True, order=True):
    """What identifies a registered entity (flyteidl.core.Identifier)."""

    kind: EntityKind
    project: str
    domain: str
    name: str
    version: str

    @property
    def path(self) -> str:
        """Where it is below the registry's `entities/`."""
        return f"{self.kind}/{entity_path(self.project, self.domain, self.name, self.version)}"

    def __str__(self) -> str:
        where = f"project {self.project!r}, domain {self.domain!r}, version {self.version!r}"
        return f"{self.kind.words} {self.name} ({where})"


class RegistryConflict(Invalid):
    """The name and version are registered with other content."""


class Registry(Protocol):
    """Keeps entities; see the module's text."""

    @property
    def address(self) -> str:
        """Where it is, for messages."""
        ...

    async def find(self, entity: Entity) -> bytes | None:
        """Return the content of an entity, None if it is not registered."""
        ...

    async def require_registrable(self, entity: Entity, content: bytes) -> None:
        """Raise RegistryConflict if the entity is registered with other content now."""
        ...

    async def register(self, entity: Entity, content: bytes) -> bool:
        """Register an entity; returns whether it is new. The same content again mends what is gone of it."""
        ...

    async def entities(self, kind: EntityKind, project: str, domain: str) -> list[Entity]:
        """Return what is registered of a project and domain, in order, `MAX_LISTED` at most."""
        ...
