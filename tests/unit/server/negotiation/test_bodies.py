"""Decoding of request bodies: types, unknown fields, YAML, protobuf."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from propeller.clock import rfc3339
from propeller.embedded.server import ApiServer
from propeller.embedded.server.negotiation._bodies import duplicate_fields
from propeller.embedded.server.negotiation._protobuf import MEDIA_TYPE, NotProtobuf, decode
from tests.unit.server.asking import DEFAULT, ask, config_map, pod, send

MAPS = f"{DEFAULT}/configmaps"


async def test_unknown_fields_are_dropped_with_a_warning(server: ApiServer) -> None:
    body = pod("p")
    body["spec"]["containers"][0]["colour"] = "red"
    answer = await send(server, "POST", f"{DEFAULT}/pods", body, fieldValidation="Warn")
    assert answer.headers["warning"] == '299 - "unknown field \\"spec.containers[0].colour\\""'
    assert b"colour" not in answer.body


async def test_unknown_and_repeated_fields_are_refused_strictly(server: ApiServer) -> None:
    body = b'{"metadata": {"name": "c"}, "data": {"a": "1", "a": "2"}, "more": 1}'
    refused = await ask(server, "POST", MAPS, body, fieldValidation="Strict")
    assert refused["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'duplicate field "data.a", unknown field "more"'
    )


async def test_unknown_fields_are_silently_dropped_with_field_validation_ignore(server: ApiServer) -> None:
    answer = await send(server, "POST", MAPS, {**config_map("c"), "more": 1}, fieldValidation="Ignore")
    assert (answer.status, "warning" in answer.headers) == (201, False)


async def test_a_wrong_type_is_a_bad_request_that_names_the_field(server: ApiServer) -> None:
    refused = await ask(server, "POST", MAPS, {**config_map("c"), "data": {"a": 1}})
    assert refused["code"] == 400
    assert "cannot unmarshal number into Go struct field ConfigMap.data" in refused["message"]


async def test_nulls_and_empty_lists_are_as_good_as_nothing(server: ApiServer) -> None:
    body = pod("p", labels=None, annotations={})
    body["spec"] |= {"volumes": [], "nodeSelector": {}, "hostname": None}
    made = await ask(server, "POST", f"{DEFAULT}/pods", body)
    assert not {"volumes", "nodeSelector", "hostname"} & made["spec"].keys()
    assert not {"labels", "annotations"} & made["metadata"].keys()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "<empty>"),
        (b"{", "json parse error"),
        (b"[]", "cannot unmarshal array"),
        (b'"text"', "cannot unmarshal string"),
        (b"\xff\xfe", "json parse error"),
    ],
)
async def test_a_body_that_is_not_an_object_is_a_bad_request(server: ApiServer, body: bytes, said: str) -> None:
    refused = await ask(server, "POST", MAPS, body)
    assert (refused["code"], refused["reason"]) == (400, "BadRequest")
    assert said in refused["message"]


async def test_another_content_type_is_refused_with_those_that_are_taken(server: ApiServer) -> None:
    refused = await ask(server, "POST", MAPS, b"<xml/>", content_type="application/xml")
    assert refused["code"] == 415
    assert "application/json, application/yaml" in refused["message"]


async def test_yaml_is_taken_and_given_and_its_times_stay_text(server: ApiServer) -> None:
    body = b"metadata:\n  name: c\ndata:\n  when: 2026-01-02T03:04:05Z\n  n: '1'\n"
    answer = await send(server, "POST", MAPS, body, content_type="application/yaml", accept="application/yaml")
    assert answer.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(answer.body)["data"] == {"when": "2026-01-02T03:04:05Z", "n": "1"}


async def test_yaml_that_makes_no_sense_is_a_bad_request(server: ApiServer) -> None:
    for body in (b"a: [", b"- a\n", b"!!python/object:os.system {}"):
        assert (await ask(server, "POST", MAPS, body, content_type="application/yaml"))["code"] == 400


@given(st.recursive(st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner)))
def test_a_body_without_repeated_fields_has_none(value: Any) -> None:
    assert duplicate_fields(json.dumps(value).encode()) == []


def test_repeated_fields_are_found_wherever_they_are() -> None:
    body = b'{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"d": 1, "d": 1}}'
    assert duplicate_fields(body) == ["a", "a.d", "b[0].c"]


# protobuf, written by hand as its guide says: each field is its number and wire type, then its value


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, message)


async def test_protobuf_bodies_of_go_clients_are_accepted(server: ApiServer) -> None:
    metadata = field(1, "c") + field(11, field(1, "l") + field(2, "1"))
    message = field(1, metadata) + field(2, field(1, "k") + field(2, "v"))
    body = envelope("v1", "ConfigMap", message)
    made = await ask(server, "POST", MAPS, body, content_type=MEDIA_TYPE)
    assert (made["metadata"]["labels"], made["data"]) == ({"l": "1"}, {"k": "v"})


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_of_any_sign_come_through(number: int) -> None:
    options = decode(envelope("v1", "DeleteOptions", field(1, number)))
    assert options == {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": number}


def test_a_time_comes_through_to_the_microsecond() -> None:
    time = field(1, 1_700_000_000) + field(2, 123_456_000)
    lease = decode(envelope("coordination.k8s.io/v1", "Lease", field(2, field(1, "me") + field(4, time))))
    assert lease["spec"] == {
        "holderIdentity": "me",
        "renewTime": rfc3339(1_700_000_000.123456, microseconds=True),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00\xff",
        b"k8s\x00" + struct.pack("<I", 7),
        envelope("v1", "Service", b""),
        envelope("v1", "ConfigMap", b"\x0a\x7f"),
        envelope("v1", "ConfigMap", field(1, b"\xff" * 12)),
    ],
)
async def test_protobuf_that_cannot_be_read_is_a_bad_request(server: ApiServer, body: bytes) -> None:
    with pytest.raises(NotProtobuf):
        decode(body)
    assert (await ask(server, "POST", MAPS, body, content_type=MEDIA_TYPE))["code"] == 400


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    try:
        decode(b"k8s\x00" + field(1, field(1, "v1") + field(2, "Pod")) + field(2, noise))
    except NotProtobuf:
        return


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", MAPS, {"metadata": {"name": "Bad", "resourceVersion": "1"}}, 422),
        ("POST", MAPS, {"metadata": {"name": "good", "resourceVersion": "1"}}, 500),
        ("PUT", f"{MAPS}/none", {"metadata": {"name": "none", "namespace": "other"}}, 400),
        ("PUT", f"{MAPS}/none", {"metadata": {"name": "none"}, "binaryData": {"k": "%"}}, 400),
        ("PUT", f"{MAPS}/none", {"metadata": {"name": "another"}}, 400),
        ("PUT", f"{MAPS}/none", {"metadata": {"name": "none"}}, 404),
    ],
)
async def test_of_several_errors_the_one_that_kube_apiserver_finds_first_is_reported(
    server: ApiServer, method: str, path: str, body: Any, code: int
) -> None:
    assert (await ask(server, method, path, body))["code"] == code


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("merge-patch+json", 422, 'patch: Invalid value: "{\\"kind\\":\\"Secret\\"'),
        ("strategic-merge-patch+json", 422, 'patch: Invalid value: "map[data:map[k:%]]"'),
        ("apply-patch+yaml", 500, "failed to convert new object (/s; /v1, Kind=Secret) to proper version"),
    ],
)
async def test_a_patch_that_does_not_decode_is_blamed(server: ApiServer, kind: str, code: int, said: str) -> None:
    path = f"{DEFAULT}/secrets"
    await ask(server, "POST", path, config_map("s"))
    body: dict[str, Any] = {"data": {"k": "%"}}
    options = {"content_type": f"application/{kind}"}
    if kind.startswith("apply"):
        body |= {"kind": "Secret", "apiVersion": "v1"}
        options["fieldManager"] = "me"
    refused = await ask(server, "PATCH", f"{path}/s", body, **options)
    assert refused["code"] == code
    assert said in refused["message"]
