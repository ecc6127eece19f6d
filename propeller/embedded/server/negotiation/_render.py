"""Records as the JSON that a request asked for: whole, metadata only, or as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
import yaml

from propeller.embedded.server._errors import Failure
from propeller.embedded.server._responses import JSON_HEADERS
from propeller.embedded.server._storage import Record
from propeller.embedded.server.negotiation._requests import Call, Form, header, wants_yaml
from propeller.embedded.server.negotiation._tables import partial_metadata, table
from propeller.kube import Response

EventEncoder = Callable[[str, Record], Sequence[bytes]]
"""The pieces of a watch's line, by event type and record."""


def object_response(call: Call, record: Record, now: float, status: int = 200, headers: Any = JSON_HEADERS) -> Response:
    """One object."""
    kind = call.target.kind
    match call.form:
        case Form.OBJECT:
            body = kind.head + record.tail
        case Form.METADATA:
            body = orjson.dumps(partial_metadata(record.parsed()))
        case Form.METADATA_LIST:
            raise _other_form(call, "PartialObjectMetadataList", "not a list", kind.kind)
        case Form.TABLE:
            body = orjson.dumps(table(kind, [record.parsed()], _version(record), now=now, include=_include(call)))
    return in_format(call, Response(status=status, headers=headers, body=body))


def list_response(call: Call, records: Iterable[Record], metadata: dict[str, Any], now: float) -> Response:
    """A list, or a page of one."""
    kind = call.target.kind
    match call.form:
        case Form.OBJECT:
            head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
                kind.list_kind.encode(),
                kind.api_version.encode(),
                orjson.dumps(metadata),
            )
            tails = [record.tail for record in records]
            if tails:  # joined once: a list of 50,000 pods is 150 MB
                tails[0] = head + kind.item_head + tails[0]
                tails[-1] += b"]}"
                body = (b"," + kind.item_head).join(tails)
            else:
                body = head + b"]}"
        case Form.METADATA:
            raise _other_form(call, "PartialObjectMetadata", "a list", kind.list_kind)
        case Form.METADATA_LIST:
            content = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": [partial_metadata(record.parsed()) for record in records] or None,
            }
            body = orjson.dumps(content)
        case Form.TABLE:
            objects = (record.parsed() for record in records)
            body = orjson.dumps(table(kind, objects, metadata, now=now, include=_include(call)))
    return in_format(call, Response(status=200, headers=JSON_HEADERS, body=body))


def _other_form(call: Call, asked: str, what: str, type_name: str) -> Failure:
    """One object was asked for as a list, or a list as one."""
    go = f"core.{type_name}"
    if call.target.kind.custom:
        go = "unstructured.UnstructuredList" if what == "a list" else "unstructured.Unstructured"
    return Failure(406, "NotAcceptable", f"you requested {asked}, but the requested object is {what} (*{go})")


def event_encoder(call: Call, now: Callable[[], float]) -> EventEncoder:
    """How a watch's lines are made. Whole objects are not copied: the pieces are shared until they are joined."""
    kind = call.target.kind
    if call.form is Form.OBJECT:
        heads = {
            name: b'{"type":"%s","object":' % name.encode() + kind.head for name in ("ADDED", "MODIFIED", "DELETED")
        }
        return lambda type_, record: (heads[type_], record.tail, b"}\n")
    if call.form is Form.METADATA_LIST:
        raise _other_form(call, "PartialObjectMetadataList", "not a list", kind.kind)
    shown: list[bool] = []

    def encode(type_: str, record: Record) -> Sequence[bytes]:
        if call.form is Form.METADATA:
            content = partial_metadata(record.parsed())
        else:
            content = table(
                kind, [record.parsed()], _version(record), now=now(), include=_include(call), headers=not shown
            )
            shown.append(True)
        return (orjson.dumps({"type": type_, "object": content}), b"\n")

    return encode


def bookmark(call: Call, version: int, *, ends_initial: bool = False) -> bytes:
    """Return the line of a bookmark, the version that a watch has reached."""
    kind = call.target.kind
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    content: dict[str, Any] = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    if call.form is Form.METADATA:
        content |= {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    if call.form is Form.TABLE:
        content |= {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": None, "rows": None}
    return orjson.dumps({"type": "BOOKMARK", "object": content}) + b"\n"


def error_event(status: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"


def in_format(call: Call, response: Response) -> Response:
    """Return the response as YAML if that was requested."""
    if not wants_yaml(header(call.request, "accept")):
        return response
    text = yaml.safe_dump(orjson.loads(response.body), sort_keys=False, allow_unicode=True)
    headers = {**response.headers, "content-type": "application/yaml"}
    return Response(status=response.status, headers=headers, body=text.encode())


def _version(record: Record) -> dict[str, str]:
    return {"resourceVersion": str(record.version)}


def _include(call: Call) -> str:
    return call.query.get("includeObject", "") or "Metadata"
