"""PATCH requests: choose the kind of patch, apply it, and store the result."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from propeller.embedded.server._errors import (
    Failure,
    bad_request,
    conflict,
    forbidden_field,
    invalid,
    invalid_value,
    not_found,
    quoted,
    required,
    unprocessable,
    unsupported_media_type,
)
from propeller.embedded.server._storage import Object, Record
from propeller.embedded.server.negotiation._bodies import media_type, read_patch
from propeller.embedded.server.negotiation._render import object_response
from propeller.embedded.server.negotiation._requests import META_GROUP, Call, is_true
from propeller.embedded.server.patch._field_set import DuplicateItem
from propeller.embedded.server.patch._managed_fields import APPLY, Managers, from_json, unknown, worked_out
from propeller.embedded.server.patch._merge_patch import MAX_OPERATIONS, DoesNotApply, json_patch, merge_patch
from propeller.embedded.server.patch._server_side_apply import LAST_APPLIED, apply
from propeller.embedded.server.patch._strategic_merge_patch import Malformed, go_text, strategic_merge
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.rest._writes import Writer, Writes, accept, check_name, checked, decoded, warning_headers
from propeller.embedded.server.schema._typecheck import TypeMismatch, json_type
from propeller.kube import Response

_OF_STATUS = ("kind", "apiVersion", "metadata", "status")
"""Members that a patch of the status may change; the others stay as they are."""


class Patch(enum.StrEnum):
    """The content types."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


def patch(writes: Writes, call: Call, now: float) -> Response:
    """PATCH an object or its status. Raises Failure."""
    kind = call.target.kind
    how = how_to_patch(call, kind)
    call = checked("PatchOptions", call)
    _check_options(call, how)
    document = read_patch(call.request)
    if how is Patch.APPLY:
        return _apply(writes, call, document, now)
    record = _record(call)
    if record is None:
        raise not_found(kind.group, kind.plural, call.target.name)
    old = _current(call, record, document, how)
    new = patched({"kind": kind.kind, "apiVersion": kind.api_version, **old}, document, how, kind)
    if call.target.subresource == "status":
        new = {name: new[name] for name in _OF_STATUS if name in new}
    shown = go_text(document) if how is Patch.STRATEGIC else orjson.dumps(new).decode()
    obj, warnings = _accepted(call, new, lambda why: blamed(shown, why))
    check_name(call.target, obj)
    stored = writes.update(call, record, obj, Writer(call, writes.time()), old=old)
    return object_response(call, stored, now, 200, warning_headers(warnings))


def _current(call: Call, record: Record, document: Any, how: Patch) -> Object:
    """The object that is patched, parsed as far as the patch may change or have to look at it.

    A workflow may be a megabyte of which a report changes a hundred bytes: parsing the rest would be most of its cost.
    """
    strategy = call.target.kind.strategy
    if how is Patch.MERGE and isinstance(document, dict) and strategy.is_sparse(call.target.subresource):
        return record.sparse({"metadata", *document})
    return record.parsed()


def how_to_patch(call: Call, kind: Kind) -> Patch:
    """Return the kind of patch of the content type. Raises Failure for one that the kind does not support."""
    allowed = [one for one in Patch if not (kind.custom and one is Patch.STRATEGIC)]
    given = media_type(call.request)
    if given in ("application/apply-patch+cbor", "application/apply-patch+json"):
        given = Patch.APPLY
    if given not in allowed:
        if given in list(Patch):
            raise unsupported_media_type(allowed)
        raise Failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    return Patch(given)


def _check_options(call: Call, how: Patch) -> None:
    causes = []
    if how is Patch.APPLY and not call.query.get("fieldManager"):
        causes.append(required("fieldManager", "is required for apply patch"))
    if how is not Patch.APPLY and "force" in call.query:
        causes.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if causes:
        raise invalid(META_GROUP, "PatchOptions", "", causes)


def _record(call: Call) -> Record | None:
    target = call.target
    key = f"{target.namespace}/{target.name}" if target.namespace else target.name
    return target.kind.collection.records.get(key)


def patched(current: Object, document: Any, how: Patch, kind: Kind) -> Object:
    """Apply a patch to an object. Raises Failure if it does not apply."""
    if not isinstance(document, list if how is Patch.JSON else dict):
        what = "[]handlers.jsonPatchOp" if how is Patch.JSON else "map[string]interface {}"
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {json_type(document)} into Go value of type {what}"
        )
    try:
        match how:
            case Patch.JSON:
                assert isinstance(document, list)
                if len(document) > MAX_OPERATIONS:
                    why = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(document)}"
                    raise Failure(413, "RequestEntityTooLarge", why)
                new = json_patch(current, document)
            case Patch.MERGE:
                new = merge_patch(current, document)
            case _:
                assert isinstance(document, dict)
                new = strategic_merge(current, document, kind.schema)
    except DoesNotApply as error:
        raise _inapplicable(error, how) from error
    if not isinstance(new, dict):
        raise blamed(orjson.dumps(new).decode(), f"json: cannot unmarshal {json_type(new)} into an object")
    return new


def _inapplicable(error: DoesNotApply, how: Patch) -> Failure:
    if how is Patch.JSON:
        return unprocessable()
    return bad_request(str(error)) if isinstance(error, Malformed) else Failure(500, "", str(error))


def _accepted(call: Call, patched: Object, blame: Callable[[str], Failure]) -> tuple[Object, list[str]]:
    """Return the patched object in the form of its kind. `blame` makes the Failure for an invalid one."""
    kind, strictness = call.target.kind, call.query.get("fieldValidation")
    obj = {name: value for name, value in patched.items() if name not in ("kind", "apiVersion")}
    if obj.get("metadata") is None or isinstance(obj["metadata"], dict):
        obj["metadata"] = dict(obj.get("metadata") or {})
    try:
        obj, unknown = decoded(kind, obj)
    except TypeMismatch as error:
        raise blame(str(error)) from error
    warnings = [f"unknown field {quoted(path)}" for path in unknown]
    if warnings and strictness == "Strict":
        raise blame(f"strict decoding error: {', '.join(warnings)}")
    return obj, [] if strictness == "Ignore" else warnings


def blamed(patch: str, why: str) -> Failure:
    """Return the failure of a patch whose result is not an object of its kind."""
    return invalid("", "", "", [invalid_value("patch", patch, why)])


def _apply(writes: Writes, call: Call, config: Any, now: float) -> Response:
    """Server-side apply: create the object, or merge the configuration into it."""
    target, kind = call.target, call.target.kind
    record = _record(call)
    if record is None and target.subresource:
        raise not_found(kind.group, kind.plural, target.name)
    config = _configuration(call, config, record is not None)
    uid = config["metadata"].get("uid")
    if record is None and uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(kind.group, kind.plural, target.name, why)
    writer = Writer(call, writes.time())
    live = record.parsed() if record is not None else {}
    managers = _managers(record, live, writer)
    try:
        obj, after = apply(
            live, config, writer.scope, managers, writer.manager(APPLY), force=is_true(call.query, "force")
        )
    except DuplicateItem as error:
        raise _untyped(call, str(error)) from error
    if call.manager == "kubectl":
        _note_applied(obj, config, kind)
    obj, warnings = _accepted(call, obj, lambda why: _unconvertible(call, why))
    if record is None:
        created = writes.create_object(call, obj, after)
        return object_response(call, created, now, 201, warning_headers(warnings))
    if "resourceVersion" not in config["metadata"]:
        obj["metadata"]["resourceVersion"] = str(record.version)
    stored = writes.update(call, record, obj, writer, applied=after)
    return object_response(call, stored, now, 200, warning_headers(warnings))


def _unconvertible(call: Call, why: str) -> Failure:
    kind, name = call.target.kind, call.target.name
    what = f"{kind.group}/{kind.version}, Kind={kind.kind}"
    how = f"failed to convert new object (/{name}; {what}) to proper version: unable to convert unstructured object to"
    return Failure(500, "", f"{how} {what}: {why}")


def _configuration(call: Call, config: Any, exists: bool) -> Object:
    """Return the applied configuration without its type fields; it may omit the name of an existing object. Raises
    Failure.
    """
    kind, target = call.target.kind, call.target
    if not isinstance(config, dict):
        raise bad_request(f"error decoding patch: {json_type(config)} is no object")
    group, _, version = str(config.get("apiVersion", "")).rpartition("/")
    if config.get("kind") != kind.kind or (group, version) != (kind.group, kind.version):
        raise bad_request(f"invalid object type: {group}/{version}, Kind={config.get('kind', '')}")
    obj = {name: value for name, value in config.items() if name not in ("kind", "apiVersion")}
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    name = metadata.get("name") or (target.name if exists else "")
    if not name:
        raise bad_request(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    obj["metadata"] = {**metadata, "name": name} | ({"namespace": target.namespace} if target.namespace else {})
    if metadata.get("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    try:
        _, unknown = accept(kind, orjson.loads(orjson.dumps(obj)))
    except TypeMismatch as error:
        raise _untyped(call, str(error)) from error
    if unknown:
        raise _untyped(call, f".{unknown[0]}: field not declared in schema")
    return obj


def _untyped(call: Call, why: str) -> Failure:
    kind, target = call.target.kind, call.target
    group_version = f"{kind.group}/{kind.version}"
    what = f"({target.namespace}/{target.name}; {group_version}, Kind={kind.kind})"
    return Failure(500, "", f"failed to create typed patch object {what}: {why}")


def _managers(record: Record | None, live: Object, writer: Writer) -> Managers:
    """Return the managers before an apply, computed if the object has never been applied."""
    if record is None:
        return ()
    entries = live["metadata"].get("managedFields")
    if entries:
        return from_json(entries)
    if not record.writers:
        return unknown(live, writer.scope, writer.manager(APPLY))
    target = msgspec.structs.replace(writer.call.target, subresource="")
    main = Writer(msgspec.structs.replace(writer.call, target=target), writer.time)
    return worked_out(record.writers, live, main.scope)


def _note_applied(obj: Object, config: Object, kind: Kind) -> None:
    """Update the annotation of client-side apply, if there is one, for clients that go back to it."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if LAST_APPLIED in annotations:
        record_manager = {"apiVersion": kind.api_version, "kind": kind.kind, **config}
        obj["metadata"] = {
            **obj["metadata"],
            "annotations": {**annotations, LAST_APPLIED: orjson.dumps(record_manager).decode() + "\n"},
        }
