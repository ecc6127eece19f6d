"""Schemas of kinds: their fields, and how lists and maps merge.

Schemas of built-in kinds are those that kube-apiserver 1.37 publishes (schemas.json beside this module, without the
descriptions; tests/integration/kubectl keeps it equal); those of custom resources are in their definitions.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

SCHEMAS_FILE = Path(__file__).with_name("schemas.json")

DEFINITION = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_REFERENCE = "#/components/schemas/"


class Shape(enum.Enum):
    OBJECT = enum.auto()
    """Fields with names of their own."""
    MAP = enum.auto()
    """Any keys, values of one schema."""
    LIST = enum.auto()
    SCALAR = enum.auto()
    ANY = enum.auto()
    """Whatever JSON there is."""


class Schema:
    """One node of a schema; children are created on demand, because some schemas contain themselves.

    `name` is the type's, if it has one. `raw` is the OpenAPI schema with its references resolved.
    """

    def __init__(
        self, raw: Mapping[str, Any], resolve: Callable[[str], Mapping[str, Any]] | None = None, name: str = ""
    ) -> None:
        while target := raw.get("$ref") or (raw["allOf"][0].get("$ref") if "allOf" in raw and resolve else None):
            assert resolve is not None
            name = target.removeprefix(_REFERENCE)
            beside = {key: value for key, value in raw.items() if key not in ("$ref", "allOf")}
            raw = {**resolve(name), **beside}
        self.raw = raw
        self.name = name
        self._resolve = resolve
        self.shape = _shape_of(raw)
        self.type: str = raw.get("type", "")
        self.format: str = raw.get("format", "")
        self.preserves_unknown: bool = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded: bool = bool(raw.get("x-kubernetes-embedded-resource"))
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.list_type: str = raw.get("x-kubernetes-list-type", "atomic")
        self.atomic: bool = raw.get("x-kubernetes-map-type") == "atomic" or (
            self.shape is Shape.LIST and self.list_type == "atomic"
        )
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")
        self.merge_strategies: tuple[str, ...] = tuple(raw.get("x-kubernetes-patch-strategy", "").split(","))

    @functools.cached_property
    def fields(self) -> Mapping[str, Schema]:
        """The named fields of an OBJECT."""
        return {name: Schema(raw, self._resolve) for name, raw in self.raw.get("properties", {}).items()}

    @functools.cached_property
    def items(self) -> Schema:
        """The schema of a LIST's elements or a MAP's values."""
        raw = self.raw.get("items") if self.shape is Shape.LIST else self.raw.get("additionalProperties")
        return Schema(raw, self._resolve) if isinstance(raw, Mapping) else ANYTHING

    def child(self, name: str) -> Schema:
        """Return the schema of the value under a key, known field or not."""
        if self.shape is Shape.OBJECT:
            return self.fields.get(name, ANYTHING)
        return self.items if self.shape is Shape.MAP else ANYTHING


def _shape_of(raw: Mapping[str, Any]) -> Shape:
    match raw.get("type"):
        case "object" if raw.get("properties"):
            return Shape.OBJECT
        case "object" if isinstance(raw.get("additionalProperties"), Mapping):
            return Shape.MAP
        case "array":
            return Shape.LIST
        case "string" | "integer" | "number" | "boolean":
            return Shape.SCALAR
        case None if raw.get("oneOf") or raw.get("format") == "int-or-string" or raw.get("x-kubernetes-int-or-string"):
            return Shape.SCALAR
        case _:
            return Shape.ANY


ANYTHING = Schema({})


@functools.cache
def published() -> Mapping[str, Any]:
    """The built-in types by name, as OpenAPI schemas."""
    types: dict[str, Any] = orjson.loads(SCHEMAS_FILE.read_bytes())
    return types


@functools.cache
def builtin(name: str) -> Schema:
    """The schema of a built-in type by its full name."""
    types = published()
    return Schema({"$ref": _REFERENCE + name}, lambda wanted: types[wanted])


def of_custom_resource(definition: Mapping[str, Any]) -> Schema:
    """The schema of a custom resource: its own, with the metadata and type fields that every object has."""
    types = published()
    own = dict(definition)
    properties = {
        **own.get("properties", {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": _REFERENCE + OBJECT_META},
    }
    return Schema({**own, "type": "object", "properties": properties}, lambda wanted: types[wanted])
