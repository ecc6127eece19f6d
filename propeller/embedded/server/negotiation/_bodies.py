"""Request bodies as objects: size, syntax, and the type that they say they have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

from propeller.embedded.server._errors import (
    Failure,
    bad_request,
    invalid,
    invalid_value,
    request_too_large,
    unsupported_media_type,
)
from propeller.embedded.server._storage import Object
from propeller.embedded.server.negotiation._protobuf import MEDIA_TYPE, NotProtobuf, decode
from propeller.embedded.server.negotiation._requests import header
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.schema._typecheck import json_type
from propeller.kube import Request
from propeller.redaction import place_of_yaml_error

MAX_REQUEST_BYTES = 3 * 1024 * 1024
"""kube-apiserver's limit for a request."""

_OBJECT_TYPES = ("application/json", "application/yaml", MEDIA_TYPE)
_MAX_SHOWN = 30


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: times stay text."""

    def construct_text(self, node: yaml.ScalarNode) -> str:
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_text)


def media_type(request: Request) -> str:
    return header(request, "content-type").partition(";")[0].strip()


def check_size(request: Request) -> None:
    """Raises Failure for a body over the limit."""
    if len(request.body) > MAX_REQUEST_BYTES:
        raise request_too_large(MAX_REQUEST_BYTES)


def read_object(request: Request, kind: Kind) -> Object:
    """The object in a body, without `kind` and `apiVersion`, which must be the kind's. Raises Failure."""
    return typed(read_any(request, kind.kind), kind, request.body)


def read_any(request: Request, expected: str) -> Object:
    """The object in a body, of whatever kind. Raises Failure."""
    check_size(request)
    media = media_type(request)
    if media in ("application/yaml", "text/yaml"):
        return _from_yaml(request.body, expected)
    if media == MEDIA_TYPE:
        try:
            return decode(request.body)
        except NotProtobuf as error:
            raise bad_request(str(error)) from error
    if media not in ("", "application/json"):
        raise unsupported_media_type(_OBJECT_TYPES)
    try:
        obj = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise _unrecognized(expected, str(error), request.body) from error
    if not isinstance(obj, dict):
        raise _unrecognized(expected, f"cannot unmarshal {json_type(obj)} into an object", request.body)
    return obj


def read_patch(request: Request) -> Any:
    """The document of a patch: JSON, or YAML for an apply. Raises Failure."""
    check_size(request)
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        if media_type(request) != "application/apply-patch+yaml":
            raise bad_request("invalid JSON patch") from error
    return _from_yaml(request.body, "object")


def typed(obj: Object, kind: Kind, body: bytes) -> Object:
    """Check and take off the type fields. Raises Failure."""
    kind_given, version_given = obj.pop("kind", ""), obj.pop("apiVersion", "")
    if kind.custom:
        if not kind_given or not version_given:
            missing = "Kind" if not kind_given else "apiVersion"
            text = body.decode(errors="replace")
            raise _unrecognized(kind.kind, f"Object '{missing}' is missing in '{text}'", body, parsed=True)
        if kind_given != kind.kind:
            cause = invalid_value("kind", kind_given, f"must be {kind.kind}")
            raise invalid(kind.group, kind_given, (obj.get("metadata") or {}).get("name", ""), [cause])
        if version_given != kind.api_version:
            raise bad_request(
                f"the API version in the data ({version_given}) does not match the expected API version "
                f"({kind.api_version})"
            )
    elif kind_given not in ("", kind.kind) or version_given not in ("", kind.api_version):
        given = f'{kind_given or kind.kind} in version "{version_given or kind.api_version}"'
        raise bad_request(f"{given} cannot be handled as a {kind.kind}: it is of another type")
    return obj


def decode_error(kind: Kind, why: str) -> Failure:
    """A body that does not decode to the kind."""
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def duplicate_fields(body: bytes) -> list[str]:
    """Paths of the fields that occur twice in one object."""

    class Pairs(dict[str, Any]):
        twice: tuple[str, ...] = ()

    def note(pairs: list[tuple[str, Any]]) -> Pairs:
        found = Pairs(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            found.twice = tuple(sorted({name for name in names if names.count(name) > 1}))
        return found

    def walk(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, Pairs):
            yield from (f"{path}.{name}" if path else name for name in value.twice)
            for name, member in value.items():
                yield from walk(member, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from walk(item, f"{path}[{index}]")

    try:
        return list(walk(json.loads(body, object_pairs_hook=note), ""))
    except ValueError:
        return []  # YAML, whose loader has its own view of duplicates


def _from_yaml(body: bytes, expected: str) -> Object:
    try:
        obj = yaml.load(body, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding YAML: {place_of_yaml_error(error)}") from None
    if not isinstance(obj, dict):
        raise _unrecognized(expected, "it is no object", body)
    return obj


def _unrecognized(expected: str, why: str, body: bytes, *, parsed: bool = False) -> Failure:
    text = body.decode(errors="replace")
    shown = "<empty>" if not text else text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ..."
    reason = why if parsed else f"couldn't get version/kind; json parse error: {why}"
    return bad_request(f"the object provided is unrecognized (must be of type {expected}): {reason} ({shown})")
