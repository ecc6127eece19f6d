"""Decoding of objects, pages, and lines of watches, from any bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Invalid, PropellerError, ResourceExpired, Throttled, Unavailable
from propeller.kube import CONFIG_MAPS, PODS, Event, EventType, KubeObject, Pod, Resource
from propeller.kube import _decoding as decoding
from propeller.kube._decoding import decode_event, decode_events, decode_object, decode_page, whole_lines
from propeller.testing import run_virtually
from tests.unit.growth import grows_beyond


class Workflow(KubeObject, frozen=True, rename="camel"):
    """As the controller reads it: a part is kept as it is, a part is typed, the rest is skipped."""

    spec: msgspec.Raw = msgspec.Raw(b"")
    status: dict[str, Any] = msgspec.field(default_factory=dict)


WORKFLOWS: Resource[Workflow] = FLYTE_WORKFLOWS.typed(Workflow)


def obj(name: str, /, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": "7"}, **fields}


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def page_of(*items: bytes) -> bytes:
    return b'{"metadata":{"resourceVersion":"9","continue":"token"},"items":[' + b",".join(items) + b"]}"


GOOD = orjson.dumps(obj("good", spec={"x": 1}, status={"phase": 1}))
DEEP = b'{"metadata":{"name":"deep","namespace":"ns"},"spec":%s}' % nested(100_000)
BAD = {
    "another type": orjson.dumps(obj("bad", status="text")),
    "a number out of range": b'{"metadata":{"name":"bad","namespace":"ns"},"status":{"x":1e999}}',
    "text that is no UTF-8": b'{"metadata":{"name":"bad","namespace":"ns"},"status":{"x":"\xff"}}',
    "nested too deep": DEEP.replace(b"deep", b"bad"),
}


def test_an_object_decodes_to_its_type() -> None:
    assert decode_object(WORKFLOWS, GOOD, "get").status == {"phase": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"], ids=str)
def test_an_answer_that_is_no_object_is_unavailable(body: bytes) -> None:
    with pytest.raises(Unavailable, match="get w: the answer is no FlyteWorkflow that can be read"):
        decode_object(WORKFLOWS, body, "get w")


@pytest.mark.parametrize("bad", BAD, ids=BAD.keys())
def test_an_answer_that_is_an_object_of_another_type_is_invalid_and_names_the_field(bad: str) -> None:
    with pytest.raises(Invalid, match=r"get w: FlyteWorkflow ns/bad cannot be decoded: (status|spec)[.0-9a-z\[\]]*: "):
        decode_object(WORKFLOWS, BAD[bad], "get w")


def test_a_page_decodes_with_its_version_and_token() -> None:
    page = decode_page(WORKFLOWS, page_of(GOOD), "list")
    assert (page.resource_version, page.continue_token, page.undecodable) == ("9", "token", ())
    assert [item.metadata.name for item in page.items] == ["good"]


def test_a_page_without_items_is_empty() -> None:
    assert decode_page(WORKFLOWS, b'{"metadata":{},"items":null}', "list").items == ()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_undecodable_object_does_not_hide_the_rest_of_its_page(bad: bytes) -> None:
    page = decode_page(WORKFLOWS, page_of(bad, GOOD), "list")
    assert [item.metadata.name for item in page.items] == ["good"]
    assert page.items[0].spec == decode_object(WORKFLOWS, GOOD, "").spec
    (found,) = page.undecodable
    assert found.key == "ns/bad"
    assert found.error.startswith(("status", "spec"))
    assert page.continue_token == "token"


def test_depth_that_the_decoder_can_take_is_no_problem() -> None:
    item = b'{"metadata":{"name":"a"},"spec":%s}' % nested(300)
    page = decode_page(WORKFLOWS, page_of(item), "list")
    assert bytes(page.items[0].spec) == nested(300)
    assert page.undecodable == ()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"items": 5}', b'{"items": [5]}', page_of(b"{")], ids=str)
def test_an_answer_that_is_no_list_is_unavailable(body: bytes) -> None:
    with pytest.raises(Unavailable, match="list w: the answer is no list that can be read"):
        decode_page(WORKFLOWS, body, "list w")


def line_of(type_: str, content: bytes) -> bytes:
    return b'{"type":"%s","object":%s}' % (type_.encode(), content)


@pytest.mark.parametrize("type_", ["ADDED", "MODIFIED", "DELETED"])
def test_a_line_is_an_event(type_: str) -> None:
    event = decode_event(WORKFLOWS, line_of(type_, GOOD), "watch")
    assert (str(event.type), event.object.metadata.name, event.undecodable) == (type_, "good", None)


def test_a_bookmark_has_its_version() -> None:
    bookmark = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "12"}}
    for resource in (PODS, WORKFLOWS, CONFIG_MAPS):
        event: Event[Any] = decode_event(resource, line_of("BOOKMARK", orjson.dumps(bookmark)), "watch")
        assert event.type is EventType.BOOKMARK


STATUS = {"kind": "Status", "metadata": {}, "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}


@pytest.mark.parametrize(
    "line",
    [
        orjson.dumps({"type": "ERROR", "object": STATUS}),
        orjson.dumps({"object": STATUS, "type": "ERROR"}),
        b'{ "type" : "ERROR" , "object" : ' + orjson.dumps(STATUS) + b"}",
    ],
    ids=["as written by Go", "the other way round", "with spaces"],
)
@pytest.mark.parametrize("resource", [PODS, WORKFLOWS, CONFIG_MAPS], ids=lambda resource: resource.plural)
def test_an_error_event_raises_its_error_in_any_layout(resource: Resource[Any], line: bytes) -> None:
    with pytest.raises(ResourceExpired, match=r"watch pods: too old \(410\)"):
        decode_event(resource, line, "watch pods")


def test_an_error_event_may_name_a_pause() -> None:
    status = STATUS | {"code": 429, "details": {"retryAfterSeconds": 2}}
    with pytest.raises(Throttled) as raised:
        decode_event(PODS, line_of("ERROR", orjson.dumps(status)), "watch")
    assert raised.value.after == 2


@pytest.mark.parametrize("content", [b"{}", b'{"code":200}', b"null", b"5"], ids=str)
def test_an_error_event_that_says_nothing_is_unavailable(content: bytes) -> None:
    with pytest.raises(Unavailable):
        decode_event(PODS, line_of("ERROR", content), "watch")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("type_", ["ADDED", "MODIFIED", "DELETED"])
def test_an_object_that_is_not_of_its_type_is_undecodable_in_a_watch_and_not_deleted(type_: str, bad: bytes) -> None:
    event = decode_event(WORKFLOWS, line_of(type_, bad), "watch")
    assert (str(event.type), event.object.metadata.name) == (type_, "bad")
    assert event.undecodable is not None
    assert event.undecodable.key == "ns/bad"
    assert event.undecodable.rest == event.object


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"garbage",
        b"[]",
        b"{}",
        b'{"type":"ADDED"}',
        b'{"type":"RENAMED","object":{}}',
        b'{"type":"ADDED","object":5}',
    ],
    ids=str,
)
def test_a_line_that_is_no_event_is_unavailable(line: bytes) -> None:
    with pytest.raises(Unavailable, match="watch w: the stream holds a line that cannot be read"):
        decode_event(WORKFLOWS, line, "watch w")


LINES = st.sampled_from(
    [
        line_of("ADDED", GOOD),
        line_of("DELETED", GOOD),
        line_of("BOOKMARK", b'{"metadata":{"resourceVersion":"12"}}'),
        line_of("MODIFIED", next(iter(BAD.values()))),
        line_of("ERROR", orjson.dumps(STATUS)),
        b"garbage",
        b"",
        b" ",
    ]
)


@pytest.mark.parametrize("resource", [WORKFLOWS, CONFIG_MAPS], ids=lambda resource: resource.plural)
@given(st.lists(LINES, max_size=6))
def test_many_lines_are_the_events_of_each_up_to_the_first_that_fails(
    resource: Resource[Any], lines: list[bytes]
) -> None:
    found: list[object] = []
    try:
        found.extend(decode_events(resource, b"".join(line + b"\n" for line in lines), "watch"))
        assert not {line_of("ERROR", orjson.dumps(STATUS)), b"garbage"} & set(lines)
    except PropellerError as error:
        found.append(str(error))
    each: list[object] = []
    try:
        each.extend(decode_event(resource, line, "watch") for line in lines if line.strip())
    except PropellerError as error:
        each.append(str(error))
    assert found == each


@given(st.binary(max_size=80))
def test_any_line_becomes_an_event_or_an_error_of_ours(noise: bytes) -> None:
    for line in (noise, line_of("ADDED", noise), line_of("ERROR", noise), noise + GOOD):
        for decode in (decode_event, decode_page, decode_object):
            try:
                decode(WORKFLOWS, line, "")
            except PropellerError:
                continue


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), max_size=6), st.data())
async def test_lines_are_the_same_however_the_stream_is_cut_into_chunks(sent: list[bytes], data: st.DataObject) -> None:
    body = b"".join(line + b"\n" for line in sent)
    places = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=6)))
    chunks = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    pieces = [piece async for piece in whole_lines(chunked(*chunks), "")]
    assert b"".join(pieces) == body
    assert all(piece.endswith(b"\n") for piece in pieces)


async def test_bytes_after_the_last_newline_are_no_line() -> None:
    assert [piece async for piece in whole_lines(chunked(b"one\ntw"), "")] == [b"one\n"]


async def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_LINE", 1000)
    with pytest.raises(Unavailable, match="watch: the stream holds a line of more than 1000 bytes"):
        async for _ in whole_lines(chunked(*[b"x" * 100] * 20), "watch"):
            pass


def test_a_long_line_in_many_chunks_costs_as_much_as_many_short_ones() -> None:
    """Regression: each chunk was joined to all before it, which is quadratic."""

    def reading(*chunks: bytes) -> Callable[[], object]:
        async def read() -> None:
            async for _ in whole_lines(chunked(*chunks), ""):
                pass

        return lambda: run_virtually(read())

    chunk = b"x" * 1400
    assert not grows_beyond(10, reading(*[chunk + b"\n"] * 8_000), reading(*[chunk] * 8_000, b"\n"))


def test_common_texts_of_objects_are_stored_once() -> None:
    def running(name: str) -> Pod:
        owner = {"apiVersion": "v1", "kind": "Job", "name": "a-job-of-many-pods", "uid": "the-uid-of-that-job"}
        metadata = {"name": name, "namespace": "some-namespace", "labels": {"job-name": "a-job-of-many-pods"}}
        status = {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]}
        body = {"metadata": metadata | {"ownerReferences": [owner]}, "spec": {"nodeName": "node-17"}, "status": status}
        return decode_object(PODS, orjson.dumps(body), "get")

    one, other = running("a"), running("b")
    assert one.metadata.namespace is other.metadata.namespace
    assert one.metadata.owner_references[0].uid is other.metadata.owner_references[0].uid
    assert (one.metadata.labels or {})["job-name"] is (other.metadata.labels or {})["job-name"]
    assert one.spec.node_name is other.spec.node_name
    assert one.status.conditions[0].type is other.status.conditions[0].type
    assert msgspec.json.decode(msgspec.json.encode(one), type=Pod) == one


def test_a_plain_object_of_a_list_has_its_kind_and_version() -> None:
    (item,) = decode_page(CONFIG_MAPS, page_of(orjson.dumps(obj("a"))), "list").items
    assert (item["apiVersion"], item["kind"]) == ("v1", "ConfigMap")
