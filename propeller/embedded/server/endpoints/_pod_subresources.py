"""Subresources of pods: binding and eviction. `_pod_logs` has logs."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.clock import rfc3339
from propeller.embedded.server._errors import (
    Failure,
    bad_request,
    conflict,
    internal,
    invalid,
    quoted,
    required,
    unsupported_value,
)
from propeller.embedded.server._responses import json_response, success
from propeller.embedded.server._storage import Object, Storage
from propeller.embedded.server.negotiation._bodies import read_any
from propeller.embedded.server.negotiation._requests import Call, Target, write_options
from propeller.embedded.server.rest._deletes import NO_OPTIONS, Deletes, Options, check_options, check_preconditions
from propeller.embedded.server.rest._lists import record_of
from propeller.embedded.server.rest._writes import check_uid
from propeller.embedded.server.schema._typecheck import TypeMismatch, check_of
from propeller.kube import Response


def bind(call: Call, storage: Storage, now: float) -> Response:
    """POST a binding: the pod gets its node. Raises Failure."""
    binding = _read(call, "Binding", "io.k8s.api.core.v1.Binding")
    dry_run = write_options("CreateOptions", call.query)
    metadata, node = binding.get("metadata") or {}, binding.get("target") or {}
    _check_binding(call.target, metadata, node)
    record = record_of(call.target)
    check_uid(call.target, record, metadata)
    pod = record.parsed()
    name, spec = record.name, pod.get("spec") or {}
    if record.deleting:
        raise _unbindable(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _unbindable(name, f"pod {name} is already assigned to node {quoted(spec['nodeName'])}")
    if spec.get("schedulingGates"):
        raise _unbindable(name, f"pod {name} has non-empty .spec.schedulingGates")

    def assign(obj: Object) -> None:
        obj["spec"]["nodeName"] = node["name"]
        for part in ("annotations", "labels"):
            if metadata.get(part):
                obj["metadata"][part] = {**(obj["metadata"].get(part) or {}), **metadata[part]}
        _set_condition(obj, {"type": "PodScheduled", "status": "True"}, now)

    if not dry_run:
        storage.amend(call.target.kind.collection, record, assign)
    return json_response(success(code=201), 201)


def _read(call: Call, kind: str, type_name: str) -> Object:
    """The body of a request that is no object of the pod's kind. Raises Failure."""
    given = read_any(call.request, kind)
    try:
        return check_of(type_name)(given)[0]
    except TypeMismatch as error:
        raise bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {error}') from error


def _check_binding(target: Target, metadata: dict[str, Any], node: dict[str, Any]) -> None:
    if metadata.get("name") != target.name:
        raise bad_request("name in URL does not match name in Binding object")
    causes = []
    if node.get("kind") not in (None, "", "Node"):
        causes.append(unsupported_value("target.kind", node["kind"], ("Node", "<empty>")))
    if not node.get("name"):
        causes.append(required("target.name"))
    if causes:
        raise invalid("", "Binding", target.name, causes)


def _unbindable(name: str, why: str) -> Failure:
    return conflict("", "pods/binding", name, why)


def evict(call: Call, storage: Storage, deletes: Deletes, now: float) -> Response:
    """POST an eviction: there are no disruption budgets, so the pod is deleted. Raises Failure."""
    eviction = _read(call, "Eviction", "io.k8s.api.policy.v1.Eviction")
    if (eviction.get("metadata") or {}).get("name") != call.target.name:
        raise bad_request("name in URL does not match name in Eviction object")
    options, dry_run = _eviction_options(call, eviction.get("deleteOptions"))
    record = record_of(call.target)
    reason = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    check_preconditions(call.target.kind, record, options)  # of the record before the condition changes its version
    options = msgspec.structs.replace(options, preconditions=None)
    if not dry_run:
        record = storage.amend(call.target.kind.collection, record, lambda pod: _set_condition(pod, reason, now))
    deletes.remove(call.target, record, options, dry_run=dry_run)
    return json_response(success(code=201), 201)


def _eviction_options(call: Call, given: Any) -> tuple[Options, bool]:
    """The deletion's options, and whether it is a dry run: the query or, as from kubectl, the body may say so.

    Raises Failure, also if the two contradict each other.
    """
    in_query = write_options("CreateOptions", call.query)
    if not given:
        return NO_OPTIONS, in_query
    try:
        options = msgspec.convert(given, Options)
    except msgspec.ValidationError as error:
        raise bad_request(f"deleteOptions cannot be read: {error}") from error
    in_body = check_options(options, {})
    if in_query and options.dry_run and not in_body:
        raise internal("Non-matching dry-run options in request and content", "")
    return options, in_query or in_body


def _set_condition(pod: Object, condition: dict[str, Any], now: float) -> None:
    status = dict(pod.get("status") or {})
    conditions = list(status.get("conditions") or ())
    before = next((one for one in conditions if one.get("type") == condition["type"]), None)
    since = rfc3339(now)
    if before is not None and before.get("status") == condition["status"]:
        since = before.get("lastTransitionTime", since)
    changed = {**condition, "lastTransitionTime": since}
    if before is None:
        conditions.append(changed)
    else:
        conditions[conditions.index(before)] = changed
    pod["status"] = {**status, "conditions": conditions}
