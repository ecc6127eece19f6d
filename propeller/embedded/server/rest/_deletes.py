"""Deleting objects: at once, after a grace period, or when their finalizers are gone.

Source: k8s.io/apiserver/pkg/registry/rest/delete.go and pkg/registry/generic/registry/store.go, step by step: a watch
sees the same events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from propeller.clock import parse_rfc3339, rfc3339
from propeller.embedded.server._errors import Cause, Failure, bad_request, conflict, invalid, unsupported_value
from propeller.embedded.server._responses import json_response, success
from propeller.embedded.server._storage import Object, Record, Storage, encode
from propeller.embedded.server.negotiation._bodies import read_any
from propeller.embedded.server.negotiation._render import list_response, object_response
from propeller.embedded.server.negotiation._requests import META_GROUP, Call, Target, number_in, write_options
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.rest._lists import listed, record_of
from propeller.embedded.server.schema import _metadata
from propeller.kube import Response

_POLICIES = ("Foreground", "Background", "Orphan")
_BATCH = 100
"""Objects of a collection that are deleted before other tasks get a turn."""


class Preconditions(msgspec.Struct, frozen=True, rename="camel"):
    uid: str = ""
    resource_version: str = ""


class Options(msgspec.Struct, frozen=True, rename="camel"):
    """DeleteOptions, as far as they are known here."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: Preconditions | None = None
    dry_run: list[str] | None = None


NO_OPTIONS = Options()


class Deletes:
    """The deletions of one server. `now` gives epoch seconds."""

    def __init__(self, storage: Storage, now: Callable[[], float]) -> None:
        self._storage = storage
        self._now = now

    def delete(self, call: Call) -> Response:
        """DELETE one object."""
        options, dry_run = read_options(call)
        record = record_of(call.target)
        last, gone = self.remove(call.target, record, options, dry_run=dry_run)
        kind = call.target.kind
        if gone and not kind.strategy.returns_deleted:
            details = {"name": record.name, "group": kind.group, "kind": kind.plural, "uid": record.uid}
            return json_response(success({name: value for name, value in details.items() if value}))
        return object_response(call, last, self._now())

    async def delete_collection(self, call: Call) -> Response:
        """DELETE all objects of a selection; the answer lists them as they were."""
        options, dry_run = read_options(call)
        kind = call.target.kind
        if "deletecollection" not in kind.verbs:
            raise bad_request("the server does not allow this method on the requested resource")
        found, metadata = listed(call, self._storage)
        records = list(found)
        answer = list_response(call, records, metadata, self._now())
        for index, record in enumerate(records):
            current = kind.collection.records.get(record.key)
            if current is not None:
                target = Target(kind, current.namespace, current.name)
                self.remove(target, current, options, dry_run=dry_run)
            if index % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
        return answer

    def remove(
        self, target: Target, record: Record, options: Options = NO_OPTIONS, *, dry_run: bool = False
    ) -> tuple[Record, bool]:
        """Begin or finish the deletion of an object: its last or its new state, and whether it is gone."""
        kind = target.kind
        obj = record.parsed()
        check_preconditions(kind, record, options)
        if kind.strategy.is_held(obj) or (kind.kind == "Namespace" and "deletionTimestamp" not in obj["metadata"]):
            return self._terminate(kind, record, obj, options, dry_run), False
        metadata = obj["metadata"]
        before = dict(metadata)
        graceful, seconds = self._begin_grace(kind, obj, options)
        if graceful is None:
            return record, False
        finalizers = _finalizers(kind, metadata, options)
        current = record
        if graceful or finalizers:
            if not graceful:
                self._mark(metadata, 0)
            metadata["finalizers"] = finalizers
            _metadata.drop_empty(metadata)
            if metadata != before:
                current = self._put(kind, record, obj, dry_run)
        if finalizers or (graceful and seconds):
            return current, False
        return (current if dry_run else self._storage.delete(kind.collection, current)), True

    def release(self, kind: Kind, record: Record, finalizer: str) -> None:
        """Remove a finalizer from an object; delete the object if it was the last one."""
        obj = record.parsed()
        metadata = obj["metadata"]
        metadata["finalizers"] = [one for one in metadata.get("finalizers") or () if one != finalizer]
        _metadata.drop_empty(metadata)
        done = record.deleting and "finalizers" not in metadata and not metadata.get("deletionGracePeriodSeconds")
        if done and not kind.strategy.is_held(obj):
            self._storage.delete(kind.collection, record)
        elif finalizer in record.finalizers:
            self._put(kind, record, obj, dry_run=False)

    def _begin_grace(self, kind: Kind, obj: Object, options: Options) -> tuple[bool | None, int]:
        """Return whether a grace period begins or becomes shorter, and its length; None if it continues unchanged."""
        metadata, asked = obj["metadata"], options.grace_period_seconds
        seconds = kind.strategy.grace(obj, asked)
        if seconds is None:
            return False, 0
        if "deletionTimestamp" not in metadata:
            self._mark(metadata, seconds)
            return True, seconds
        left = metadata.get("deletionGracePeriodSeconds")
        if not left:
            return False, 0
        if asked is None or asked >= left:
            return None, left
        return True, self._shorten(metadata, left, 1 if asked < 0 else asked)

    def _terminate(self, kind: Kind, record: Record, obj: Object, options: Options, dry_run: bool) -> Record:
        """Mark a namespace as terminating; it is removed once its content is gone."""
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata:
            return record
        metadata["deletionTimestamp"] = rfc3339(self._now())
        metadata["finalizers"] = _finalizers(kind, metadata, options)
        _metadata.drop_empty(metadata)
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        return self._put(kind, record, obj, dry_run)

    def _mark(self, metadata: dict[str, Any], seconds: int) -> None:
        ends = rfc3339(self._now() + seconds)
        if "deletionTimestamp" not in metadata:
            if metadata.get("generation", 0) > 0:
                metadata["generation"] += 1
            metadata["deletionTimestamp"] = ends
        metadata["deletionTimestamp"] = min(metadata["deletionTimestamp"], ends)
        metadata["deletionGracePeriodSeconds"] = seconds

    def _shorten(self, metadata: dict[str, Any], left: int, seconds: int) -> int:
        """Move the end of the grace period back; never into the past."""
        ends = parse_rfc3339(metadata["deletionTimestamp"]) - left + seconds
        if ends < self._now():
            ends = self._now()
            seconds = min(seconds, 1)
        metadata["deletionTimestamp"] = rfc3339(ends)
        metadata["deletionGracePeriodSeconds"] = seconds
        return seconds

    def _put(self, kind: Kind, record: Record, obj: Object, dry_run: bool) -> Record:
        version = record.version if dry_run else self._storage.version + 1
        encoded = encode(kind.collection, obj, version, record.writers)
        return encoded if dry_run else self._storage.put(kind.collection, encoded, record)


def read_options(call: Call) -> tuple[Options, bool]:
    """The options in the body and the query, and whether it is a dry run. Raises Failure."""
    request, query = call.request, call.query
    options = NO_OPTIONS
    if request.body:
        try:
            options = msgspec.convert(read_any(request, "DeleteOptions"), Options)
        except msgspec.ValidationError as error:
            raise bad_request(f"DeleteOptions cannot be read: {error}") from error
    changes: dict[str, Any] = {}
    if "gracePeriodSeconds" in query:
        changes["grace_period_seconds"] = number_in(query, "gracePeriodSeconds")
    if "propagationPolicy" in query:
        changes["propagation_policy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        changes["orphan_dependents"] = query["orphanDependents"] == "true"
    options = msgspec.structs.replace(options, **changes) if changes else options
    return options, check_options(options, query)


def check_options(options: Options, query: Mapping[str, str]) -> bool:
    """Return whether the options of a deletion, or a request's query, request a dry run. Raises Failure if they are
    invalid.
    """
    dry_run = write_options("DeleteOptions", query, {"dryRun": options.dry_run})
    _validate(options)
    return dry_run


def _validate(options: Options) -> None:
    causes: list[Cause] = []
    policy = options.propagation_policy
    if policy is not None and policy not in _POLICIES:
        causes.append(unsupported_value("propagationPolicy", policy, (*_POLICIES, "nil")))
    if policy is not None and options.orphan_dependents is not None:
        message = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        causes.append(Cause("FieldValueInvalid", message, "propagationPolicy"))
    if causes:
        raise invalid(META_GROUP, "DeleteOptions", "", causes)


def check_preconditions(kind: Kind, record: Record, options: Options) -> None:
    """Raises Failure for another uid or version than the options ask for."""
    wanted = options.preconditions
    if wanted is None:
        return
    if wanted.uid and wanted.uid != record.uid:
        raise _other(
            kind,
            record,
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({record.uid}). The object "
            "might have been deleted and then recreated",
        )
    if wanted.resource_version and wanted.resource_version != str(record.version):
        raise _other(
            kind,
            record,
            f"the ResourceVersion in the precondition ({wanted.resource_version}) does not match the ResourceVersion "
            f"in record ({record.version}). The object might have been modified",
        )


def _other(kind: Kind, record: Record, why: str) -> Failure:
    return conflict(kind.group, kind.kind, record.name, why)


def _finalizers(kind: Kind, metadata: dict[str, Any], options: Options) -> list[str]:
    """The finalizers that a deletion with these options leaves on an object."""
    given: list[str] = list(metadata.get("finalizers") or ())
    cleanup = kind.strategy.cleanup_finalizer
    if cleanup and cleanup not in given and "deletionTimestamp" not in metadata:
        given.append(cleanup)
    policy = options.propagation_policy
    if options.orphan_dependents is not None:
        policy = "Orphan" if options.orphan_dependents else "Background"
    if policy is None and not {_metadata.ORPHAN, _metadata.FOREGROUND}.intersection(given):
        policy = kind.strategy.default_propagation or None
    if policy is None or not kind.strategy.collects_garbage:
        return given
    wanted = {"Orphan": _metadata.ORPHAN, "Foreground": _metadata.FOREGROUND}.get(policy)
    rest = [one for one in given if one not in (_metadata.ORPHAN, _metadata.FOREGROUND)]
    return [*rest, wanted] if wanted else rest
