"""Create, replace and patch objects: the steps of each write before it is stored.

Guarantees
    A write is atomic, and happens between two requests: nothing is awaited in between.
    A write that changes nothing stores nothing: the version stays, and no watch gets an event.
Source: k8s.io/apiserver/pkg/registry/generic/registry and pkg/endpoints/handlers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from propeller.embedded.server._errors import (
    MODIFIED,
    Failure,
    already_exists,
    bad_request,
    conflict,
    internal,
    invalid,
    invalid_value,
    method_not_allowed,
    quoted,
)
from propeller.embedded.server._responses import JSON_HEADERS
from propeller.embedded.server._storage import Object, Record, Storage, encode
from propeller.embedded.server.negotiation._bodies import decode_error, duplicate_fields, read_object
from propeller.embedded.server.negotiation._render import object_response
from propeller.embedded.server.negotiation._requests import Call, Target, write_options
from propeller.embedded.server.patch._managed_fields import (
    UPDATE,
    Manager,
    Managers,
    Scope,
    from_json,
    record_manager,
    to_json,
    update_managers,
)
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.rest._lists import record_of
from propeller.embedded.server.schema import _metadata
from propeller.embedded.server.schema._typecheck import TypeMismatch
from propeller.kube import Response

MAX_OBJECT_BYTES = 1536 * 1024
"""etcd's default limit for a request."""

_MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""The limit of kube-apiserver's own client of etcd, which refuses larger requests with another message."""

_ENVELOPE_BYTES = 512
"""Bytes sent to etcd besides the object."""

_UNMANAGED_METADATA = {"name", "namespace", "uid", "creationTimestamp", "generation"}
"""Metadata without a manager."""

Admission = Callable[[Call, Object], None]
"""A last look at a new object, which may refuse it by raising Failure."""


class Identity(msgspec.Struct, frozen=True):
    """Sources of values that differ between servers: the time, uids, and suffixes of generated names."""

    time: Callable[[], str]
    uid: Callable[[], str]
    suffix: Callable[[], str]


class Writes:
    """The writes of one server. `admit` are asked before all else, `admit_valid` when all else is right."""

    def __init__(
        self, storage: Storage, identity: Identity, *, admit: Sequence[Admission], admit_valid: Admission
    ) -> None:
        self._storage = storage
        self._identity = identity
        self._admit = admit
        self._admit_valid = admit_valid

    def time(self) -> str:
        """Now, as metav1.Time."""
        return self._identity.time()

    def create(self, call: Call, now: float) -> Response:
        """POST to a kind."""
        target = call.target
        if target.name or bool(target.namespace) != target.kind.namespaced:
            raise method_not_allowed()
        call = checked("CreateOptions", call)
        obj, warnings = self.decode(call, read_object(call.request, target.kind))
        record = self.create_object(call, obj, Writer(call, self.time()).first())
        return object_response(call, record, now, 201, warning_headers(warnings))

    def create_object(self, call: Call, obj: Object, managers: Managers) -> Record:
        """Create a decoded object. Raises Failure."""
        kind, strategy, metadata = call.target.kind, call.target.kind.strategy, obj["metadata"]
        metadata.pop("managedFields", None)
        version = metadata.pop("resourceVersion", "")
        _metadata.place(metadata, call.target.namespace)
        _metadata.begin(metadata, uid=self._identity.uid(), now=self._identity.time())
        generated = not metadata.get("name") and metadata.get("generateName")
        if generated:
            metadata["name"] = _metadata.generated_name(metadata["generateName"], self._identity.suffix())
        for admit in self._admit:
            admit(call, obj)
        strategy.prepare_create(obj)
        _metadata.drop_empty(metadata)
        causes = [*_metadata.validate(metadata, strategy.name_rule, core=kind.group == ""), *strategy.validate(obj)]
        if causes:
            raise invalid(kind.group, kind.kind, metadata.get("name", ""), causes)
        if version not in ("", "0"):
            raise Failure(500, "", "resourceVersion should not be set on objects to be created")
        self._admit_valid(call, obj)
        key = f"{metadata['namespace']}/{metadata['name']}" if call.target.namespace else metadata["name"]
        existing = kind.collection.records.get(key)
        if existing is not None:
            raise _already_exists(kind, existing)
        applied = bool(managers) and managers[0].operation != UPDATE
        if applied:
            metadata["managedFields"] = to_json(managers)
        return self._store(call, obj, None, () if applied or _has_no_managed_fields(obj) else managers)

    def replace(self, call: Call, now: float) -> Response:
        """PUT onto an object, or onto its status."""
        target, kind = call.target, call.target.kind
        call = checked("UpdateOptions", call)
        obj, warnings = self.decode(call, read_object(call.request, kind))
        _metadata.place(obj["metadata"], target.namespace)
        check_name(target, obj)
        try:
            record = record_of(target)
        except Failure:
            if not kind.strategy.create_on_update or target.subresource:
                raise
            _check_vanished(kind, obj)
            created = self.create_object(call, obj, Writer(call, self.time()).first())
            return object_response(call, created, now, 201, warning_headers(warnings))
        check_uid(target, record, obj["metadata"])
        stored = self.update(call, record, obj, Writer(call, self.time()))
        return object_response(call, stored, now, 200, warning_headers(warnings))

    def update(
        self,
        call: Call,
        record: Record,
        obj: Object,
        writer: Writer,
        *,
        old: Object | None = None,
        applied: Managers | None = None,
    ) -> Record:
        """Store the update; if it removes the last finalizer of an object being deleted, delete the object.

        `old` is the parsed record, if it has been parsed; the new state may share unchanged parts with it. `applied`
        are the managers after an apply; any other write belongs to the writer alone. Raises Failure.
        """
        kind, strategy, target = call.target.kind, call.target.kind.strategy, call.target
        old = record.parsed() if old is None else old
        metadata, old_metadata = obj["metadata"], old["metadata"]
        _metadata.place(metadata, target.namespace)
        self._check_version(kind, record, metadata)
        _metadata.keep_system_fields(metadata, old_metadata)
        given = metadata.pop("managedFields", None)
        if target.subresource == "status":
            strategy.prepare_status(obj, old)
            metadata = obj["metadata"]
            metadata.pop("managedFields", None)
            causes = strategy.validate_status(obj, old)
        elif target.subresource == "finalize":
            obj["status"] = old.get("status") or {}
            causes = []
        else:
            strategy.prepare_update(obj, old)
            causes = [*strategy.validate(obj), *strategy.validate_update(obj, old)]
        _metadata.drop_empty(metadata)
        metadata["resourceVersion"] = old_metadata["resourceVersion"]
        if metadata != old_metadata:
            causes = [
                *_metadata.validate(metadata, strategy.name_rule, core=kind.group == ""),
                *_metadata.validate_update(metadata, old_metadata),
                *causes,
            ]
        if causes:
            raise invalid(kind.group, kind.kind, record.name, causes)
        writers = self._managers(writer, record, obj, old, given, applied)
        if _is_noop(obj, old) and bool(writers) is bool(record.writers):
            return record
        if _was_last_finalizer(metadata, old_metadata) and not strategy.is_held(obj):
            last = encode(kind.collection, obj, record.version)
            if not call.dry_run:
                self._storage.delete(kind.collection, record)
            return last
        return self._store(call, obj, record, writers)

    def decode(self, call: Call, obj: Object) -> tuple[Object, Sequence[str]]:
        """Return the object in the form of its kind, and warnings about unknown fields. Raises Failure."""
        kind = call.target.kind
        duplicates: list[str] = []
        if call.query.get("fieldValidation") == "Strict":
            duplicates = duplicate_fields(call.request.body)
        try:
            obj, unknown = decoded(kind, obj)
        except TypeMismatch as error:
            raise decode_error(kind, str(error)) from error
        warnings = [
            *(f"duplicate field {quoted(path)}" for path in duplicates),
            *(f"unknown field {quoted(path)}" for path in unknown),
        ]
        if warnings and call.query.get("fieldValidation") == "Strict":
            raise decode_error(kind, f"strict decoding error: {', '.join(warnings)}")
        return obj, () if call.query.get("fieldValidation") == "Ignore" else warnings

    def _check_version(self, kind: Kind, record: Record, metadata: dict[str, Any]) -> None:
        given = metadata.get("resourceVersion", "")
        if given in ("", "0"):
            if kind.strategy.unconditional_update:
                return
            cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.group, kind.plural, record.name, [cause])
        if not given.isdecimal():
            raise Failure(500, "", f'strconv.ParseUint: parsing "{given}": invalid syntax')
        if int(given) != record.version:
            raise conflict(kind.group, kind.plural, record.name, MODIFIED)

    def _managers(
        self, writer: Writer, record: Record, obj: Object, old: Object, given: Any, applied: Managers | None
    ) -> Managers:
        """Return the managers now: stored in the object if it was ever applied, else beside it."""
        metadata, before = obj["metadata"], old["metadata"].get("managedFields")
        if applied is not None:
            metadata["managedFields"] = to_json(applied)
            if not metadata["managedFields"]:
                del metadata["managedFields"]
            return ()
        if given is not None and given != before:
            before = [entry for entry in given if entry]
            if not before:
                return ()  # reset: the next applier finds fields without a manager
        if before is None:
            managers: Managers = record.writers or ()
            return record_manager(managers, writer.manager(), old, obj, writer.scope)
        after = to_json(update_managers(from_json(before), writer.manager(), old, obj, writer.scope))
        if after:
            metadata["managedFields"] = after
        return ()

    def _store(self, call: Call, obj: Object, before: Record | None, writers: Managers) -> Record:
        collection = call.target.kind.collection
        record = encode(collection, obj, self._storage.version + 1, writers)
        _check_size(len(record.tail) + _ENVELOPE_BYTES)
        if not call.dry_run:
            return self._storage.put(collection, record, before)
        if before is None:
            del obj["metadata"]["resourceVersion"]
            return msgspec.structs.replace(record, tail=orjson.dumps(obj)[1:])
        return record.at(before.version)


class Writer(msgspec.Struct, frozen=True):
    """Who makes a request, as the owner of the fields that it changes."""

    call: Call
    time: str

    @property
    def scope(self) -> Scope:
        kind, subresource = self.call.target.kind, self.call.target.subresource
        return Scope(kind.schema, ignored_members(kind, subresource), kind.custom, kind.strategy.admitted)

    def manager(self, operation: str = UPDATE) -> Manager:
        target = self.call.target
        return Manager(
            name=self.call.manager,
            operation=operation,
            api_version=target.kind.api_version,
            subresource=target.subresource,
            time=self.time,
        )

    def first(self) -> Managers:
        """The managers of an object that this request creates."""
        return (self.manager(),)


def ignored_members(kind: Kind, subresource: str) -> tuple[str, ...]:
    """The members that a write to the object, or to a subresource, does not change."""
    if subresource == "status":
        return ("spec", "metadata") if kind.custom else ("spec",)
    return ("status",) if kind.strategy.has_status else ()


def accept(kind: Kind, obj: Object) -> tuple[Object, tuple[str, ...]]:
    """Return the object in the form of its kind, and the paths of unknown fields. Raises TypeMismatch."""
    metadata = obj.get("metadata")
    if metadata is None:
        obj["metadata"] = {}
    obj, unknown = kind.strategy.accept(obj)
    return obj, unknown


def decoded(kind: Kind, obj: Object) -> tuple[Object, tuple[str, ...]]:
    """As `accept`, with defaults filled in. Raises TypeMismatch."""
    obj, unknown = accept(kind, obj)
    kind.strategy.default(obj)
    return obj, unknown


def _check_vanished(kind: Kind, obj: Object) -> None:
    """Raise Failure if a PUT that would create is meant for an object that is gone."""
    metadata = obj["metadata"]
    if uid := metadata.get("uid"):
        raise conflict(kind.group, kind.plural, metadata["name"], _other_uid(kind, metadata["name"], uid, ""))
    metadata.pop("resourceVersion", None)


def _has_no_managed_fields(obj: Object) -> bool:
    """Whether nothing in a new object is its creator's doing."""
    return len(obj) == 1 and obj["metadata"].keys() <= _UNMANAGED_METADATA


def check_name(target: Target, obj: Object) -> None:
    """Raise Failure if a write names another object than its path."""
    name = obj["metadata"].get("name", "")
    if not name:
        why = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def _other_uid(kind: Kind, key: str, given: str, actual: str) -> str:
    """Why a write to an object with another uid is refused."""
    plural = f"{kind.group}/{kind.plural}" if kind.custom else kind.plural
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{plural}/{key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {actual}"
    )


def check_uid(target: Target, record: Record, metadata: Mapping[str, Any]) -> None:
    """Raise Failure if a write names another object's uid."""
    uid = metadata.get("uid")
    if uid and uid != record.uid:
        why = _other_uid(target.kind, record.key, uid, record.uid)
        raise conflict(target.kind.group, target.kind.plural, record.name, why)


def checked(kind_of_options: str, call: Call) -> Call:
    """Return the call with its dry-run option. Raises Failure for invalid options."""
    dry_run = write_options(kind_of_options, call.query)
    return msgspec.structs.replace(call, dry_run=True) if dry_run else call


def _check_size(size: int) -> None:
    """Raise Failure if etcd would refuse the size."""
    if size > _MAX_MESSAGE_BYTES:
        why = f"trying to send message larger than max ({size} vs. {_MAX_MESSAGE_BYTES})"
        raise internal(f"rpc error: code = ResourceExhausted desc = {why}", "")
    if size > MAX_OBJECT_BYTES:
        raise internal("etcdserver: request is too large", "")


def _is_noop(obj: Object, old: Object) -> bool:
    """Whether a write changes nothing; times of managers alone are no change."""
    if obj == old:
        return True
    managed, before = obj["metadata"].get("managedFields"), old["metadata"].get("managedFields")
    if managed is None or before is None or _timeless(managed) != _timeless(before):
        return False
    return {**obj, "metadata": {**obj["metadata"], "managedFields": before}} == old


def _timeless(managed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entries = ({name: value for name, value in entry.items() if name != "time"} for entry in managed)
    return sorted(entries, key=lambda entry: (entry["manager"], entry["operation"], entry.get("subresource", "")))


def _was_last_finalizer(metadata: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in old and not metadata.get("finalizers") and not old.get("deletionGracePeriodSeconds")


def _already_exists(kind: Kind, existing: Record) -> Failure:
    failure = already_exists(kind.group, kind.plural, existing.name)
    if "deletionTimestamp" in existing.parsed()["metadata"]:
        failure.message = f"object is being deleted: {failure.message}"
    return failure


def warning_headers(warnings: Sequence[str]) -> Mapping[str, str]:
    if not warnings:
        return JSON_HEADERS
    return {**JSON_HEADERS, "warning": ", ".join(f"299 - {quoted(warning)}" for warning in warnings)}
