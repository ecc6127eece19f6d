"""OpenAPI v3 documents: the types of a group version, and the options of its requests.

`kubectl apply` reads them to learn whether the server validates fields itself, and how lists merge; `kubectl explain`
shows them, here without descriptions. The version 2 document has no types: kubectl requests it before it applies a
`List`, and leaves everything without a type to the server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from propeller.embedded.server._errors import no_such_path
from propeller.embedded.server._responses import json_response
from propeller.embedded.server.endpoints._discovery import VERSION
from propeller.embedded.server.negotiation._requests import PREFIX_HEADER, header
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.embedded.server.schema._schema import OBJECT_META, published
from propeller.kube import Request, Response

_ROOT = "/openapi/v3"
_VERSION_2 = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]}, "paths": {}}
_VERSION_2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_REFERENCE = re.compile(rb'"#/components/schemas/([^"]+)"')
_WRITE_OPTIONS = ("dryRun", "fieldManager", "fieldValidation")


def version_2(request: Request) -> Response:
    """Return the OpenAPI v2 document, in JSON, or in protobuf if requested, as kubectl does."""
    if "protobuf" not in header(request, "accept"):
        return json_response(_VERSION_2)
    swagger = b"\x0a\x032.0"  # field 1 of openapi.v2.Document, a string of 3 bytes
    return Response(status=200, headers={"content-type": _VERSION_2_PROTOBUF}, body=swagger)


class OpenApi:
    """Documents by group version; each is kept until the set of kinds changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._computed_at = -1
        self._documents: dict[str, bytes] = {}

    def answer(self, request: Request) -> Response:
        """GET the index, or one document. Raises Failure."""
        documents = self._current()
        path = request.path.removeprefix(_ROOT).strip("/")
        if not path:
            root = header(request, PREFIX_HEADER) + _ROOT
            index = {
                name: {"serverRelativeURL": f"{root}/{name}?hash={hashlib.sha256(body).hexdigest()}"}
                for name, body in documents.items()
            }
            return json_response({"paths": index})
        if path not in documents:
            raise no_such_path()
        return Response(status=200, headers={"content-type": "application/json"}, body=documents[path])

    def _current(self) -> dict[str, bytes]:
        if self._computed_at != self._registry.changes:
            self._computed_at = self._registry.changes
            by_version: dict[str, list[Kind]] = {}
            for kind in self._registry:
                by_version.setdefault(_document_of(kind), []).append(kind)
            self._documents = {name: _document(kinds) for name, kinds in by_version.items()}
        return self._documents


def _document_of(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


def _document(kinds: list[Kind]) -> bytes:
    types: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for kind in kinds:
        name = _type_name(kind)
        types[name] = _with_identity(kind)
        paths |= _paths(kind, name)
    _add_referenced(types)
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": types},
    }
    return orjson.dumps(document)


def _add_referenced(types: dict[str, Any]) -> None:
    waiting = list(types.values())
    while waiting:
        for match in _REFERENCE.findall(orjson.dumps(waiting.pop())):
            name = match.decode()
            if name not in types:
                types[name] = published()[name]
                waiting.append(types[name])


def _type_name(kind: Kind) -> str:
    if not kind.custom:
        return kind.schema.name
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _with_identity(kind: Kind) -> dict[str, Any]:
    identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    schema: dict[str, Any] = dict(kind.schema.raw)
    if kind.custom:
        metadata = {"$ref": f"#/components/schemas/{OBJECT_META}"}
        schema["properties"] = {**schema.get("properties", {}), "metadata": metadata}
    return {**schema, "x-kubernetes-group-version-kind": [identity]}


def _paths(kind: Kind, type_name: str) -> dict[str, Any]:
    """The paths of a kind, with the parameters of their writes."""
    prefix = f"/{_document_of(kind)}" + ("/namespaces/{namespace}" if kind.namespaced else "")
    collection = f"{prefix}/{kind.plural}"
    identity: Mapping[str, str] = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    shown = {"200": {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{type_name}"}}}}}

    def operation(action: str, *parameters: str) -> dict[str, Any]:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": identity,
            "parameters": [
                {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in parameters
            ],
            "responses": shown,
        }

    return {
        collection: {"get": operation("list"), "post": operation("post", *_WRITE_OPTIONS)},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", *_WRITE_OPTIONS),
            "patch": operation("patch", *_WRITE_OPTIONS, "force"),
            "delete": operation("delete", "dryRun", "gracePeriodSeconds", "propagationPolicy"),
        },
    }
