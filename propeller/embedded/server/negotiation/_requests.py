"""Parse a request: its path, its query, and the requested form of the response."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from propeller.embedded.server._errors import (
    bad_request,
    invalid,
    no_such_path,
    not_acceptable,
    not_found,
    quoted,
    unsupported_value,
)
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.embedded.server.registry._missing import lacked_subresource
from propeller.kube import Request

META_GROUP = "meta.k8s.io"
_MAX_PATHS = 10_000
"""Paths of collections that are remembered: one for each kind and namespace that is in use."""

PREFIX_HEADER = "x-forwarded-prefix"
"""The header with the path prefix that the client uses, so that links lead back through it."""
_NUMBER = re.compile(r"[+-]?[0-9]+")
_MAX_DIGITS = 40
"""Digits of an integer that may fit 64 bits, with a sign and some leading zeros."""

_AVAILABLE = (
    "application/json",
    "application/yaml",
    "application/json;stream=watch",
)


class Form(enum.Enum):
    """How objects are shown."""

    OBJECT = enum.auto()
    METADATA = enum.auto()
    METADATA_LIST = enum.auto()
    TABLE = enum.auto()


class Target(msgspec.Struct, frozen=True):
    """The target of a path within the resource API."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a resource, taken apart. `manager` is whom its fields will belong to."""

    verb: str
    target: Target
    request: Request
    form: Form
    manager: str
    dry_run: bool = False

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query


def header(request: Request, name: str) -> str:
    """Return a header by its lower-case name; "" if it is missing."""
    headers = request.headers
    if name in headers:
        return headers[name]
    return next((value for key, value in headers.items() if key.lower() == name), "")


def find_target(registry: Registry, path: str) -> Target | None:
    """Resolve a path of the resource API; None if no such kind is served. Raises Failure for a bad path."""
    known = registry.paths
    if found := known.get(path):
        return Target(*found)
    target = _item(known, path) or _parse_path(registry, path)
    if target is not None and not target.name:
        if len(known) >= _MAX_PATHS:
            known.clear()
        known[path] = target.kind, target.namespace
    return target


def _item(known: Mapping[str, tuple[Kind, str]], path: str) -> Target | None:
    """Resolve an object or subresource in a collection that was requested before; None if that is not enough."""
    head, _, last = path.rpartition("/")
    if not last or "%" in path:
        return None
    if found := known.get(head):
        kind, namespace = found
        return Target(kind, namespace, last) if bool(namespace) is kind.namespaced else None
    head, _, name = head.rpartition("/")
    found = known.get(head)
    if found and name and last in found[0].subresources and bool(found[1]) is found[0].namespaced:
        return Target(*found, name, last)
    return None


def _parse_path(registry: Registry, path: str) -> Target | None:
    match path.split("/"):
        case ["", "api", version, *rest]:
            group = ""
        case ["", "apis", group, version, *rest]:
            pass
        case _:
            return None
    if "%" in path:
        rest = [unquote(part) for part in rest]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (group or rest[2] not in ("status", "finalize")):
        _, namespace, *rest = rest
    if not 1 <= len(rest) <= 3 or not all(rest):
        return None
    kind = registry.find(group, version, rest[0])
    if kind is None:
        return None
    target = Target(kind, namespace, *rest[1:])
    if bool(namespace) > kind.namespaced or (kind.namespaced and target.name and not namespace):
        raise no_such_path()
    if target.subresource and target.subresource not in kind.subresources:
        if not kind.custom and (failure := lacked_subresource(kind.plural, target.subresource)) is not None:
            raise failure
        raise not_found(kind.group, kind.plural, target.name) if kind.custom else no_such_path()
    return target


def manager_of(request: Request) -> str:
    """Who writes: the fieldManager that was named, or the program that its User-Agent names."""
    named = request.query.get("fieldManager", "")
    return named or header(request, "user-agent").partition("/")[0] or "unknown"


@functools.lru_cache(maxsize=1024)
def form_of(accept: str) -> Form:
    """Return the form that an Accept header requests. Raises Failure if none is available."""
    if not accept:
        return Form.OBJECT
    for clause in accept.split(","):
        media, _, rest = clause.partition(";")
        parameters = dict(part.strip().split("=", 1) for part in rest.split(";") if "=" in part)
        form = _form_named(parameters)
        if media.strip() in ("application/json", "application/yaml", "application/*", "*/*") and form is not None:
            return form
    raise not_acceptable(_AVAILABLE)


def _form_named(parameters: Mapping[str, str]) -> Form | None:
    wanted = parameters.get("as", "")
    if not wanted:
        return Form.OBJECT
    if parameters.get("g") != META_GROUP or parameters.get("v") not in ("v1", "v1beta1"):
        return None
    return {
        "Table": Form.TABLE,
        "PartialObjectMetadata": Form.METADATA,
        "PartialObjectMetadataList": Form.METADATA_LIST,
    }.get(wanted)


def wants_yaml(accept: str) -> bool:
    return accept.partition(",")[0].partition(";")[0].strip() in ("application/yaml", "text/yaml")


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A flag, as Go reads it: given without a value it holds."""
    return name in query and query[name].lower() not in ("false", "0", "f")


def number_in(query: Mapping[str, str], name: str) -> int:
    """Parse an integer; 0 if it is missing. Raises Failure."""
    text = query.get(name, "")
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        raise bad_request(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    if len(text) > _MAX_DIGITS or not -(1 << 63) <= (number := int(text)) < 1 << 63:
        raise bad_request(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return number


def write_options(kind_of_options: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None) -> bool:
    """Check the options that all writes have; whether it is a dry run. Raises Failure."""
    if not body and "dryRun" not in query and "fieldValidation" not in query:
        return False
    causes = []
    dry_run: Any = query.get("dryRun") or (body or {}).get("dryRun") or ""
    listed = dry_run if isinstance(dry_run, list) else [dry_run]
    if any(one not in ("", "All") for one in listed):
        causes.append(unsupported_value("dryRun", listed, ("All",)))
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        causes.append(unsupported_value("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    if causes:
        raise invalid(META_GROUP, kind_of_options, "", causes)
    return "All" in listed
