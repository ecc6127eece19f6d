"""The rules that all kinds share, and the methods in which a kind may differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propeller.embedded.server._errors import Cause
from propeller.embedded.server._storage import Object
from propeller.embedded.server.schema._names import NameRule, subdomain
from propeller.embedded.server.schema._typecheck import check_of


class Strategy:
    """The rules of one kind. The defaults are those of most kinds without a status.

    Objects come without `kind` and `apiVersion`, and may be changed in place; `old` may not.
    """

    has_status = False
    """Whether there is a status that only writes to the subresource change."""

    create_on_update = False
    """Whether a PUT creates a missing object."""

    unconditional_update = True
    """Whether a PUT may leave out the resourceVersion."""

    returns_deleted = False
    """Whether a DELETE answers with the object that it removed, and not with a Status."""

    collects_garbage = True
    """Whether propagation policies mean anything for this kind."""

    default_propagation = ""
    """Propagation policy of a deletion that does not specify one; "": background."""

    cleanup_finalizer = ""
    """Finalizer that keeps a deleted object of this kind until its content is gone."""

    selectable: tuple[str, ...] = ()
    """Paths that field selectors know, beside metadata.name and metadata.namespace."""

    name_rule: NameRule = staticmethod(subdomain)

    def __init__(self, type_name: str = "") -> None:
        self._type_name = type_name

    def accept(self, obj: Object) -> tuple[Object, tuple[str, ...]]:
        """Return the object with the kind's fields, and the paths of unknown ones. Raises TypeMismatch."""
        return check_of(self._type_name)(obj)

    def default(self, obj: Object) -> None:
        """Fill in defaults, on every write. Raises TypeMismatch, for example for text that is not a quantity."""

    def prepare_create(self, obj: Object) -> None:
        """Drop fields that a client may not set at creation, and set the server's fields."""
        if self.has_status:
            obj.pop("status", None)

    def prepare_update(self, obj: Object, old: Object) -> None:
        """Restore fields that a write to the object itself may not change."""
        if self.has_status:
            restore(obj, old, "status")

    def prepare_status(self, obj: Object, old: Object) -> None:
        """Restore fields that a write to the status may not change."""
        for name in [*obj, *old]:
            if name not in ("metadata", "status"):
                restore(obj, old, name)

    def validate(self, obj: Object) -> list[Cause]:
        """Validate the object, except its metadata; return the causes."""
        return []

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        """Validate the change; the object itself has been validated."""
        return []

    def validate_status(self, obj: Object, old: Object) -> list[Cause]:
        """Validate a change of the status."""
        return []

    def is_held(self, obj: Object) -> bool:
        """Whether something beside its finalizers keeps a deleted object from going."""
        return False

    def is_sparse(self, subresource: str) -> bool:
        """Whether a write looks at no member of the object that it does not change, beside the metadata."""
        return False

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        """The values of `selectable`, in its order."""
        return ()

    def admitted(self, obj: Object) -> tuple[tuple[str, ...], ...]:
        """Return the paths, in the form of managedFields, that admission set in a new object: no creator owns them."""
        return ()

    def grace(self, obj: Object, asked: int | None) -> int | None:
        """Seconds between a deletion and its end; None for kinds that are gone at once."""
        return None


def restore(obj: Object, old: Object, name: str) -> None:
    """Give a member the value that it had, or no value."""
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


def text_at(obj: Mapping[str, Any], *path: str) -> str:
    """Return the text at a path; "" if there is none."""
    value: Any = obj
    for name in path:
        if not isinstance(value, dict):
            return ""
        value = value.get(name)
    return value if isinstance(value, str) else ""
