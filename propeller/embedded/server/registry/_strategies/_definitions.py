"""CustomResourceDefinitions: validation (k8s.io/apiextensions-apiserver/pkg/apis/apiextensions)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from propeller.embedded.server._errors import Cause, forbidden_field, invalid_value, required, unsupported_value
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy, restore
from propeller.embedded.server.schema._jsonpath import BadPath, find
from propeller.embedded.server.schema._names import label, subdomain

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_VERSION = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


class DefinitionStrategy(Strategy):
    has_status = True
    returns_deleted = True
    cleanup_finalizer = CLEANUP_FINALIZER

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        if kind := names.get("kind"):
            names.setdefault("singular", kind.lower())
            names.setdefault("listKind", f"{kind}List")
        spec.setdefault("conversion", {"strategy": "None"})

    def prepare_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1
        obj["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}
        _note_stored_version(obj)

    def prepare_update(self, obj: Object, old: Object) -> None:
        restore(obj, old, "status")
        if obj.get("spec") != old.get("spec"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        _note_stored_version(obj)

    def validate(self, obj: Object) -> list[Cause]:
        return list(_validate(obj["metadata"].get("name", ""), obj.get("spec") or {}))

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        spec, before = obj["spec"], old["spec"]
        return [
            invalid_value(f"spec.{name}", spec.get(name), "field is immutable")
            for name in ("group", "scope")
            if spec.get(name) != before.get(name)
        ]


def _note_stored_version(obj: Object) -> None:
    status = {**(obj.get("status") or {})}
    stored = list(status.get("storedVersions") or ())
    for version in obj["spec"].get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version.get("name"))
    obj["status"] = {**status, "storedVersions": stored}


def _validate(name: str, spec: dict[str, Any]) -> Iterator[Cause]:
    names, group = spec.get("names") or {}, spec.get("group", "")
    if name != f"{names.get('plural', '')}.{group}":
        yield invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield required("spec.group")
    elif (why := subdomain(group)) or "." not in group:
        yield invalid_value("spec.group", group, why or "should be a domain with at least one dot")
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        scope = spec.get("scope", "")
        yield unsupported_value("spec.scope", scope, ("Cluster", "Namespaced")) if scope else required("spec.scope")
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid_value("spec.versions", versions, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        yield from _validate_version(version, f"spec.versions[{index}]", "spec" if len(versions) == 1 else "")
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field, "")
        if not value:
            yield required(f"spec.names.{field}")
        elif why := label(value.lower()):
            yield invalid_value(f"spec.names.{field}", value, why)
    if (spec.get("conversion") or {}).get("strategy") != "None":
        strategy = spec["conversion"].get("strategy", "")
        yield unsupported_value("spec.conversion.strategy", strategy, ("None",))


def _validate_version(version: dict[str, Any], path: str, shared: str) -> Iterator[Cause]:
    """Validate one version. `shared` is the path of fields that all versions share, if this is the only version."""
    name = version.get("name", "")
    if not _VERSION.fullmatch(name):
        yield invalid_value(f"{path}.name", name, label(name) or "must be a DNS label")
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    where = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        yield required(where)
        return
    if schema.get("type") != "object":
        yield required(f"{where}.type", "must not be empty at the root")
    yield from _validate_constraints(schema, where)
    yield from _validate_structure(schema, where)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _validate_scale(scale, f"{shared or path}.subresources.scale")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        at = f"{path}.additionalPrinterColumns[{index}]"
        if column.get("type") not in _COLUMN_TYPES:
            yield unsupported_value(f"{at}.type", column.get("type", ""), _COLUMN_TYPES)
        yield from _validate_path(column.get("jsonPath", ""), f"{at}.jsonPath")
    for index, field in enumerate(version.get("selectableFields") or ()):
        yield from _validate_path(field.get("jsonPath", ""), f"{path}.selectableFields[{index}].jsonPath")


def _validate_scale(scale: Mapping[str, Any], field: str) -> Iterator[Cause]:
    """Validate a definition's `subresources.scale`."""
    for name, roots, optional in (
        ("specReplicasPath", (".spec",), False),
        ("statusReplicasPath", (".status",), False),
        ("labelSelectorPath", (".spec", ".status"), True),
    ):
        path = scale.get(name) or ""
        if not path:
            if not optional:
                yield required(f"{field}.{name}")
        elif not path.startswith(tuple(f"{root}." for root in roots)):
            where = f"either {' or '.join(roots)}" if optional else roots[0]
            yield invalid_value(f"{field}.{name}", path, f"should be a json path under {where}")


def _validate_path(text: str, field: str) -> Iterator[Cause]:
    try:
        find({}, text)
    except BadPath as error:
        yield invalid_value(field, text, str(error))


def _validate_structure(schema: dict[str, Any], path: str) -> Iterator[Cause]:
    """Require that every node has a type: without it nothing could be pruned."""
    for name, child in (schema.get("properties") or {}).items():
        yield from _validate_node(child, f"{path}.properties[{name}]")
    items, additional = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, dict):
        yield from _validate_node(items, f"{path}.items")
    if isinstance(additional, dict):
        yield from _validate_node(additional, f"{path}.additionalProperties")


def _validate_node(schema: dict[str, Any], path: str) -> Iterator[Cause]:
    untyped_allowed = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not untyped_allowed:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield required(f"{path}.items", "must be specified")
    yield from _validate_constraints(schema, path)
    yield from _validate_structure(schema, path)


def _validate_constraints(schema: dict[str, Any], path: str) -> Iterator[Cause]:
    """Validate a node and its alternatives: patterns compile, and there are no references, which structural schemas do
    not allow.
    """
    if "$ref" in schema:
        yield forbidden_field(f"{path}.$ref", "$ref is not supported")
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield invalid_value(f"{path}.pattern", schema["pattern"], f"must be a valid regular expression: {error}")
    for name in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(schema.get(name) or ()):
            yield from _validate_alternative(one, f"{path}.{name}[{index}]")
    if "not" in schema:
        yield from _validate_alternative(schema["not"], f"{path}.not")


def _validate_alternative(schema: dict[str, Any], path: str) -> Iterator[Cause]:
    """Validate an alternative, which does not need types."""
    yield from _validate_constraints(schema, path)
    children = [(f"{path}.properties[{name}]", one) for name, one in (schema.get("properties") or {}).items()]
    children += [(f"{path}.{name}", schema.get(name)) for name in ("items", "additionalProperties")]
    for where, child in children:
        if isinstance(child, dict):
            yield from _validate_alternative(child, where)
