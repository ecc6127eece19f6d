"""The `scale` subresource of custom resources: their number of replicas as an autoscaling/v1 Scale.

Guarantees
    A write of a Scale changes the field at `specReplicasPath` and nothing else, is validated by the resource's schema,
    and holds for the resource's version if it names one.
Caveats
    Server-side apply of a Scale is refused.
Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource/etcd.go, ScaleREST.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from propeller.embedded.server._errors import bad_request, internal, unsupported_media_type
from propeller.embedded.server._storage import Object, Record
from propeller.embedded.server.negotiation._bodies import read_any, read_patch
from propeller.embedded.server.negotiation._render import object_response
from propeller.embedded.server.negotiation._requests import Call
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.registry._strategies import Strategy
from propeller.embedded.server.rest._lists import record_of
from propeller.embedded.server.rest._patch import Patch, blamed, how_to_patch, patched
from propeller.embedded.server.rest._writes import Writer, Writes, check_name, checked
from propeller.embedded.server.schema._jsonpath import first
from propeller.embedded.server.schema._schema import builtin
from propeller.embedded.server.schema._typecheck import TypeMismatch, check_of
from propeller.kube import Response

_TYPE = "io.k8s.api.autoscaling.v1.Scale"
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_UNSET = -(2**31)
"""Replicas of a resource that says nothing of them; a write has to name a number then."""

_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Available", "type": "integer", "jsonPath": ".status.replicas"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)


def get_scale(call: Call, now: float) -> Response:
    """GET the Scale of a resource. Raises Failure."""
    record = record_of(call.target)
    scale = _scale_of(call.target.kind, record.parsed())
    if scale["spec"]["replicas"] == _UNSET:
        path = (call.target.kind.scale or {}).get("specReplicasPath")
        raise internal(f'Internal error occurred: the spec replicas field "{path}" does not exist')
    return _shown(call, record, scale, now)


def write_scale(writes: Writes, call: Call, now: float) -> Response:
    """PUT or PATCH the Scale of a resource. Raises Failure."""
    kind = call.target.kind
    call = checked("UpdateOptions" if call.verb == "update" else "PatchOptions", call)
    record = record_of(call.target)
    old = record.parsed()
    scale = _given(call) if call.verb == "update" else _patched(call, _scale_of(kind, old))
    metadata = scale.setdefault("metadata", {})
    metadata.setdefault("name", "")
    check_name(call.target, scale)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas == _UNSET:
        path = (kind.scale or {}).get("specReplicasPath")
        raise bad_request(f'the spec replicas field "{path}" cannot be empty')
    changed = record.parsed()
    _set(changed, str((kind.scale or {})["specReplicasPath"]), replicas)
    changed["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or str(record.version)
    stored = writes.update(call, record, changed, Writer(call, writes.time()), old=old)
    return _shown(call, stored, _scale_of(kind, stored.parsed()), now)


def _scale_of(kind: Kind, obj: Object) -> Object:
    paths = kind.scale or {}
    metadata = {name: obj["metadata"][name] for name in _SHOWN if name in obj["metadata"]}
    wanted, found = first(obj, paths["specReplicasPath"]), first(obj, paths["statusReplicasPath"])
    status: Object = {"replicas": found if isinstance(found, int) else 0}
    if selector := first(obj, paths.get("labelSelectorPath") or ".none"):
        status["selector"] = selector
    return {"metadata": metadata, "spec": {"replicas": wanted if isinstance(wanted, int) else _UNSET}, "status": status}


def _given(call: Call) -> Object:
    body = read_any(call.request, "Scale")
    if (body.get("apiVersion"), body.get("kind")) not in (("autoscaling/v1", "Scale"), (None, None)):
        raise bad_request(f"the API version and kind of a scale are autoscaling/v1 and Scale, not {body.get('kind')}")
    try:
        return check_of(_TYPE)({name: value for name, value in body.items() if name not in ("apiVersion", "kind")})[0]
    except TypeMismatch as error:
        raise bad_request(f'Scale in version "v1" cannot be handled as a Scale: {error}') from error


def _patched(call: Call, scale: Object) -> Object:
    how = how_to_patch(call, call.target.kind)
    if how is Patch.APPLY:
        raise unsupported_media_type([Patch.JSON, Patch.MERGE])
    whole = {"kind": "Scale", "apiVersion": "autoscaling/v1", **scale}
    new = patched(whole, read_patch(call.request), how, call.target.kind)
    try:
        return check_of(_TYPE)({name: value for name, value in new.items() if name not in ("apiVersion", "kind")})[0]
    except TypeMismatch as error:
        raise blamed(orjson.dumps(new).decode(), str(error)) from error


def _set(obj: Object, path: str, value: int) -> None:
    """Set the number at a simple path such as `.spec.replicas`, creating missing objects on the way."""
    *way, last = path.removeprefix(".").split(".")
    for name in way:
        inner = obj.get(name)
        obj[name] = obj = dict(inner) if isinstance(inner, dict) else {}
    obj[last] = value


def _shown(call: Call, record: Record, scale: Object, now: float) -> Response:
    """The answer in the form that was asked for, a table of its own columns included."""
    kind = call.target.kind
    shown = Kind(
        kind="Scale",
        plural=kind.plural,
        group="autoscaling",
        strategy=Strategy(_TYPE),
        schema=builtin(_TYPE),
        collection=kind.collection,
        columns=_COLUMNS,
        custom=True,
    )
    tail = orjson.dumps(scale)[1:]
    call = msgspec.structs.replace(call, target=msgspec.structs.replace(call.target, kind=shown))
    return object_response(call, msgspec.structs.replace(record, tail=tail), now)
