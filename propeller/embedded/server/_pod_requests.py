"""What can be asked of a pod beside reading and writing it: a node, its eviction, its logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from propeller.clock import rfc3339
from propeller.embedded.server._answers import (
    Answer,
    Failure,
    Streaming,
    bad_request,
    conflict,
    internal,
    invalid,
    json_response,
    not_found,
    not_implemented,
    quoted,
    required,
    success,
    unsupported_value,
)
from propeller.embedded.server._bodies import read_any
from propeller.embedded.server._deletes import NO_OPTIONS, Deletes, Options, check_options, check_preconditions
from propeller.embedded.server._lists import record_of
from propeller.embedded.server._requests import Call, Target, is_true, number_in, write_options
from propeller.embedded.server._storage import Object, Record, Storage
from propeller.embedded.server._typecheck import TypeMismatch, check_of
from propeller.embedded.server._writes import check_uid
from propeller.errors import NotFound, PropellerError, Rejected
from propeller.kube import Response

_TEXT = {"content-type": "text/plain"}


class LogSource(Protocol):
    """Where containers' output comes from: a kubelet's `logs`."""

    def __call__(
        self, namespace: str, name: str, container: str | None = None, *, follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[bytes]:
        """Chunks of a container's output; raises PropellerErrors before the first."""


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


async def read_log(call: Call, source: LogSource | None) -> Answer:
    """GET a container's output. Raises Failure."""
    query, record = call.query, record_of(call.target)
    pod = record.parsed()
    container = _container(record, pod, query.get("container", ""))
    for name in ("sinceSeconds", "sinceTime", "timestamps"):
        if query.get(name, "") not in ("", "false"):
            raise bad_request(f"{name}: this server keeps no times of log lines; ask without it")
    if is_true(query, "previous"):
        raise bad_request(f"previous terminated container {quoted(container)} in pod {quoted(record.name)} not found")
    if source is None:
        raise not_implemented("this server has no kubelet to read logs from: give it a source of logs")
    if not (pod.get("spec") or {}).get("nodeName"):
        return Response(status=200, headers=_TEXT)
    _check_started(record, pod, container)
    tail = number_in(query, "tailLines") if query.get("tailLines") else None
    follow = is_true(query, "follow")
    chunks = source(record.namespace, record.name, container, follow=follow, tail=tail)
    if follow:
        return Streaming(headers=_TEXT, chunks=lambda: chunks)
    limit = number_in(query, "limitBytes")
    try:
        body = b"".join([chunk async for chunk in chunks])
    except NotFound as error:
        raise not_found("", "pods", record.name) from error
    except PropellerError as error:
        code = error.status if isinstance(error, Rejected) else 500
        raise Failure(code, "BadRequest" if code == 400 else "InternalError", str(error)) from error
    return Response(status=200, headers=_TEXT, body=body[:limit] if limit > 0 else body)


def _container(record: Record, pod: Object, asked: str) -> str:
    """The container whose output is meant."""
    spec = pod.get("spec") or {}
    main = [one["name"] for one in spec.get("containers") or ()]
    init = [one["name"] for one in spec.get("initContainers") or ()]
    if asked:
        if asked not in (*main, *init):
            raise bad_request(f"container {asked} is not valid for pod {record.name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    why = f"a container name must be specified for pod {record.name}, choose one of: [{' '.join(main)}]"
    if init:
        why += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(why)


def _check_started(record: Record, pod: Object, container: str) -> None:
    status = pod.get("status") or {}
    states = {
        one.get("name"): one
        for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    }
    found = states.get(container)
    waiting = None if found is None else (found.get("state") or {}).get("waiting")
    if found is not None and (waiting is None or found.get("restartCount")):
        return
    reason = (waiting or {}).get("reason") or "ContainerCreating"
    raise bad_request(f"container {quoted(container)} in pod {quoted(record.name)} is waiting to start: {reason}")
