"""The client's verbs on a scripted transport, in virtual time: requests, retries, deadlines."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import orjson
import pytest

from propeller.clock import LoopClock
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Conflict, Invalid, NotFound, PropellerError, ResourceExpired, Throttled, Unavailable
from propeller.kube import (
    CONFIG_MAPS,
    LEASES,
    PODS,
    SERVICE_ACCOUNTS,
    Client,
    ClientOptions,
    Lease,
    LeaseSpec,
    ObjectMeta,
    PatchKind,
)
from propeller.testing import now
from tests.unit.kube.scripted import ScriptedStream, ScriptedTransport, answer, failure

OBJECT = {"metadata": {"name": "a", "namespace": "ns"}}


def client_of(transport: ScriptedTransport, **settings: Any) -> Client:
    return Client(transport, ClientOptions(**settings), clock=LoopClock())


async def get(transport: ScriptedTransport, **settings: Any) -> Any:
    return await client_of(transport, **settings).get(CONFIG_MAPS, "a", "ns")


async def test_a_read_that_is_throttled_waits_as_long_as_the_server_says_and_not_less() -> None:
    transport = ScriptedTransport(failure(429, retry_after="7"), answer(OBJECT))
    assert await get(transport) == OBJECT
    assert 7 <= now() <= 7.7
    assert len(transport.requests) == 2


async def test_a_read_without_a_server_backs_off_with_jitter() -> None:
    transport = ScriptedTransport(*[Unavailable("nobody")] * 4, answer(OBJECT))
    await get(transport)
    assert 0.5 * (0.1 + 0.2 + 0.4 + 0.8) <= now() <= 0.1 + 0.2 + 0.4 + 0.8
    assert len(transport.requests) == 5


async def test_all_tries_of_a_read_share_its_deadline() -> None:
    transport = ScriptedTransport(Unavailable("nobody"))
    with pytest.raises(Unavailable, match="nobody"):
        await get(transport, deadline=10.0)
    assert now() <= 10
    assert transport.deadlines == sorted(transport.deadlines, reverse=True)
    assert transport.deadlines[0] == 10


async def test_a_read_that_hangs_is_given_up_at_its_deadline() -> None:
    with pytest.raises(Unavailable):
        await get(ScriptedTransport(1e6, answer(OBJECT)), deadline=10.0)
    assert now() == 10


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    with pytest.raises(Throttled) as refused:
        await get(ScriptedTransport(failure(429, retry_after="60")), deadline=30.0)
    assert refused.value.after == 60
    assert now() == 0


@pytest.mark.parametrize("header", ["-1", "nan", "-inf"])
async def test_a_pause_that_is_none_never_makes_the_client_hammer(header: str) -> None:
    transport = ScriptedTransport(failure(503, retry_after=header))
    with pytest.raises(Unavailable):
        await get(transport, deadline=10.0)
    assert len(transport.requests) < 15


@pytest.mark.parametrize("step", [failure(404), failure(403), failure(401), failure(410), failure(400)])
async def test_errors_that_no_retry_mends_are_not_retried(step: Any) -> None:
    transport = ScriptedTransport(step)
    with pytest.raises(PropellerError):
        await get(transport)
    assert len(transport.requests) == 1


async def test_an_answer_in_html_is_not_taken_for_an_object() -> None:
    with pytest.raises(Unavailable, match="get configmaps ns/a: the answer is no ConfigMap that can be read"):
        await get(ScriptedTransport(answer(b"<html>log in first</html>")))
    with pytest.raises(Unavailable, match="list configmaps ns: the answer is no list that can be read"):
        await client_of(ScriptedTransport(answer(b"<html>"))).list(CONFIG_MAPS, "ns")
    with pytest.raises(Unavailable, match="the answer is no list of resource types"):
        await client_of(ScriptedTransport(answer(b"<html>"))).has_subresource(CONFIG_MAPS, "status")


async def test_a_redirect_is_not_followed_nor_taken_for_a_success() -> None:
    with pytest.raises(Unavailable, match="302"):
        await get(ScriptedTransport(answer(OBJECT, 302, location="https://elsewhere/")), deadline=1.0)


@pytest.mark.parametrize("step", [failure(429, retry_after="1"), failure(503), Unavailable("nobody"), failure(409)])
async def test_writes_are_sent_once(step: Any) -> None:
    transport = ScriptedTransport(step)
    client = client_of(transport)
    calls: list[Coroutine[Any, Any, Any]] = [
        client.create(CONFIG_MAPS, OBJECT, "ns"),
        client.replace(CONFIG_MAPS, OBJECT, "a", "ns"),
        client.patch(CONFIG_MAPS, "a", "ns", body={}),
        client.delete(CONFIG_MAPS, "a", "ns"),
    ]
    for number, call in enumerate(calls, 1):
        with pytest.raises((Throttled, Unavailable, Conflict)):
            await call
        assert len(transport.requests) == number


async def test_a_create_sends_kind_and_version_with_the_object() -> None:
    transport = ScriptedTransport(answer(OBJECT, 201))
    await client_of(transport).create(FLYTE_WORKFLOWS, OBJECT, "ns")
    (request,) = transport.requests
    assert (request.method, request.path) == ("POST", "/apis/flyte.lyft.com/v1alpha1/namespaces/ns/flyteworkflows")
    expected = {"apiVersion": "flyte.lyft.com/v1alpha1", "kind": "FlyteWorkflow", **OBJECT}
    assert orjson.loads(request.body) == expected
    assert request.headers["user-agent"] == "propeller"


async def test_a_struct_is_written_with_the_names_of_the_wire_and_without_its_defaults() -> None:
    transport = ScriptedTransport(answer({}, 200))
    lease = Lease(metadata=ObjectMeta(name="l", resource_version="5"), spec=LeaseSpec(holder_identity="me"))
    await client_of(transport).replace(LEASES, lease, "l", "ns")
    assert orjson.loads(transport.requests[0].body) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l", "resourceVersion": "5"},
        "spec": {"holderIdentity": "me"},
    }


async def test_names_are_percent_encoded_in_paths() -> None:
    transport = ScriptedTransport(answer(OBJECT))
    await client_of(transport).get(CONFIG_MAPS, "b?c#d é", "n s")
    path = "/api/v1/namespaces/n%20s/configmaps/b%3Fc%23d%20%C3%A9"
    assert transport.requests[0].path == path


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, {1, 2}, object()], ids=["a lone surrogate", "a number", "a set", "an object"]
)
async def test_a_body_that_is_not_json_is_invalid_and_not_sent(value: Any) -> None:
    transport = ScriptedTransport(answer(OBJECT))
    with pytest.raises(Invalid, match="configmaps ns/a: the object cannot be written as JSON"):
        await client_of(transport).create(CONFIG_MAPS, OBJECT | {"data": {"k": value}}, "ns")
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        await client_of(transport).patch(CONFIG_MAPS, "a", "ns", body={"data": value})
    assert transport.requests == []


async def test_a_patch_says_its_kind_and_manager() -> None:
    transport = ScriptedTransport(answer(OBJECT))
    client = client_of(transport)
    await client.patch(CONFIG_MAPS, "a", "ns", body={"data": {}}, kind=PatchKind.APPLY, field_manager="me", force=True)
    (request,) = transport.requests
    assert request.headers["content-type"] == "application/apply-patch+yaml"
    assert request.query == {"fieldManager": "me", "force": "true"}


async def test_a_delete_says_grace_propagation_and_preconditions() -> None:
    transport = ScriptedTransport(answer({}))
    client = client_of(transport)
    await client.delete(PODS, "a", "ns", grace_seconds=0, propagation="Orphan", uid="u", resource_version="5")
    await client.delete(PODS, "a", "ns")
    full, bare = (orjson.loads(request.body) for request in transport.requests)
    assert full == bare | {
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
        "preconditions": {"uid": "u", "resourceVersion": "5"},
    }


async def test_pages_follow_the_token_to_the_end() -> None:
    pages = [
        {"metadata": {"resourceVersion": "9", "continue": token}, "items": [{"metadata": {"name": name}}]}
        for name, token in (("a", "t1"), ("b", "t2"), ("c", ""))
    ]
    transport = ScriptedTransport(*map(answer, pages))
    client = client_of(transport, page_size=1)
    seen = [item["metadata"]["name"] async for page in client.pages(CONFIG_MAPS, "ns") for item in page.items]
    assert seen == ["a", "b", "c"]
    assert [request.query.get("continue") for request in transport.requests] == [None, "t1", "t2"]
    assert {request.query["limit"] for request in transport.requests} == {"1"}


async def test_a_page_that_fails_is_tried_again_with_its_own_token() -> None:
    first = {"metadata": {"resourceVersion": "9", "continue": "t1"}, "items": []}
    transport = ScriptedTransport(answer(first), failure(500), answer({"metadata": {}, "items": [OBJECT]}))
    pages = [page async for page in client_of(transport).pages(CONFIG_MAPS, "ns")]
    assert [len(page.items) for page in pages] == [0, 1]
    assert [request.query.get("continue") for request in transport.requests] == [None, "t1", "t1"]


async def test_a_page_whose_token_has_expired_is_stale() -> None:
    first = {"metadata": {"resourceVersion": "9", "continue": "t1"}, "items": []}
    transport = ScriptedTransport(answer(first), failure(410, "Expired"))
    with pytest.raises(ResourceExpired):
        async for _ in client_of(transport).pages(CONFIG_MAPS, "ns"):
            pass


def line(type_: str, name: str) -> bytes:
    return orjson.dumps({"type": type_, "object": {"metadata": {"name": name}}}) + b"\n"


def watch(transport: ScriptedTransport) -> Any:
    return client_of(transport, deadline=5.0).watch(PODS, "ns", resource_version="9", timeout_seconds=60.7)


async def test_a_watch_asks_for_events_after_a_version_with_bookmarks() -> None:
    transport = ScriptedTransport(streams=(ScriptedStream(line("ADDED", "a"), line("DELETED", "a")),))
    events = [(str(event.type), event.object.metadata.name) async for event in watch(transport)]
    assert events == [("ADDED", "a"), ("DELETED", "a")]
    assert transport.requests[0].query == {
        "watch": "true",
        "resourceVersion": "9",
        "timeoutSeconds": "60",
        "allowWatchBookmarks": "true",
    }


async def test_a_refused_watch_raises_the_error_of_the_body() -> None:
    body = orjson.dumps({"code": 410, "reason": "Expired", "message": "too old resource version"})
    transport = ScriptedTransport(streams=(ScriptedStream(body[:10], body[10:], status=410),))
    with pytest.raises(ResourceExpired, match="watch pods ns: too old resource version"):
        async for _ in watch(transport):
            pass
    assert transport.open_streams == 0


async def test_a_refusal_whose_body_never_ends_is_given_up_at_the_deadline() -> None:
    transport = ScriptedTransport(streams=(ScriptedStream(b"{", 1e6, status=500),))
    with pytest.raises(Unavailable, match="did not end within 5 s"):
        async for _ in watch(transport):
            pass
    assert now() == 5
    assert transport.open_streams == 0


async def test_a_watch_that_is_answered_with_no_content_is_no_watch() -> None:
    with pytest.raises(Unavailable):
        async for _ in watch(ScriptedTransport(streams=(ScriptedStream(status=302),))):
            pass


async def test_a_cut_in_mid_line_raises_and_the_part_is_no_event() -> None:
    stream = ScriptedStream(line("ADDED", "a"), line("ADDED", "b")[:-10], Unavailable("was cut"))
    events = watch(ScriptedTransport(streams=(stream,)))
    assert (await anext(events)).object.metadata.name == "a"
    with pytest.raises(Unavailable, match="was cut"):
        await anext(events)


async def test_garbage_in_a_watch_raises_and_ends_it() -> None:
    transport = ScriptedTransport(streams=(ScriptedStream(line("ADDED", "a"), b"garbage\n", line("ADDED", "b")),))
    with pytest.raises(Unavailable, match="watch pods ns: the stream holds a line that cannot be read"):
        async for _ in watch(transport):
            pass
    assert transport.open_streams == 0


async def test_leaving_a_watch_closes_its_stream() -> None:
    transport = ScriptedTransport(streams=(ScriptedStream(line("ADDED", "a"), 1e6),))
    async with aclosing(watch(transport)) as events:
        async for _ in events:
            break
    assert transport.open_streams == 0


async def test_discovery_names_a_type_that_is_not_there() -> None:
    transport = ScriptedTransport(answer({"resources": [{"name": "pods"}, {"name": "pods/status"}]}))
    client = client_of(transport)
    assert await client.has_subresource(PODS, "status")
    assert not await client.has_subresource(PODS, "scale")
    with pytest.raises(NotFound, match="look up ConfigMap: the server has no configmaps in v1"):
        await client.has_subresource(CONFIG_MAPS, "status")


async def test_the_answer_to_a_binding_is_no_pod_and_is_not_read_as_one() -> None:
    transport = ScriptedTransport(answer({"kind": "Status", "status": "Success"}, 201))
    found = await client_of(transport).create(PODS, {}, "ns", name="a", subresource="binding")
    assert found == msgspec.convert({}, type(found))
    assert transport.requests[0].path == "/api/v1/namespaces/ns/pods/a/binding"


async def test_the_answer_to_a_request_for_a_token_is_given_whole_to_those_who_read_plain_objects() -> None:
    answered = {"kind": "TokenRequest", "status": {"token": "t"}}
    client = client_of(ScriptedTransport(answer(answered, 201)))
    assert await client.create(SERVICE_ACCOUNTS, {}, "ns", name="a", subresource="token") == answered


async def test_requests_are_counted_by_kubernetes_verb_and_code() -> None:
    transport = ScriptedTransport(
        failure(429, retry_after="1"),
        answer(OBJECT),
        answer({"items": []}),
        answer(OBJECT),
        failure(409),
        answer(OBJECT),
        failure(403),
        Unavailable("nobody"),
        streams=(ScriptedStream(), ScriptedStream(b"{}", status=401)),
    )
    client = client_of(transport)
    await client.get(CONFIG_MAPS, "a", "ns")
    await client.list(CONFIG_MAPS, "ns")
    await client.create(CONFIG_MAPS, OBJECT, "ns")
    with pytest.raises(Conflict):
        await client.replace(CONFIG_MAPS, OBJECT, "a", "ns")
    await client.patch(CONFIG_MAPS, "a", "ns", body={})
    with pytest.raises(PropellerError):
        await client.delete(CONFIG_MAPS, "a", "ns")
    with pytest.raises(Unavailable):
        await client.create(CONFIG_MAPS, OBJECT, "ns")
    for _ in range(2):
        async with aclosing(client.watch(CONFIG_MAPS, "ns", resource_version="1")) as events:
            with suppress(PropellerError):
                assert [event async for event in events] == []
    assert client.requests.counts == {
        ("get", 429): 1,
        ("get", 200): 1,
        ("list", 200): 1,
        ("create", 200): 1,
        ("update", 409): 1,
        ("patch", 200): 1,
        ("delete", 403): 1,
        ("create", "none"): 1,
        ("watch", 200): 1,
        ("watch", 401): 1,
    }
    assert client.requests.refused_since == now()
