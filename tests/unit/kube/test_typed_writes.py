"""Calls that cannot be meant are refused before anything is sent, and typed writes lose no field."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import orjson
import pytest

from propeller.clock import LoopClock
from propeller.errors import Conflict, Invalid, NotFound
from propeller.kube import (
    CONFIG_MAPS,
    NODES,
    PODS,
    Client,
    FieldNameWarning,
    KubeObject,
    ObjectMeta,
    PatchKind,
    Resource,
    add_finalizer,
    remove_finalizer,
)
from tests.unit.kube.scripted import ScriptedTransport, answer, failure


class Port(msgspec.Struct, frozen=True, rename="camel"):
    number: int = 0


class GaugeSpec(msgspec.Struct, frozen=True, rename="camel"):
    max_value: int = 1
    unit: str | None = None
    ports: tuple[Port, ...] = ()
    colours: tuple[str, ...] = ()
    limits: dict[str, str] = {}


class Gauge(KubeObject, frozen=True, rename="camel", omit_defaults=True):
    spec: GaugeSpec = GaugeSpec()


class Inner(msgspec.Struct, frozen=True):
    max_replicas: int = 1


class Outer(KubeObject, frozen=True):
    spec: dict[str, tuple[Inner, ...]] | None = None


GAUGES = Resource(group="tools.example.org", kind="Gauge", plural="gauges", type=Gauge)
READ = ObjectMeta(name="g", namespace="ns", uid="u", resource_version="7")


def client_of(transport: ScriptedTransport) -> Client:
    return Client(transport, clock=LoopClock())


@pytest.fixture
def transport() -> ScriptedTransport:
    return ScriptedTransport(answer({"metadata": {"name": "g"}}))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../namespaces/x", "a%2Fb", None])
async def test_no_verb_takes_a_name_that_leads_to_another_path(transport: ScriptedTransport, name: Any) -> None:
    client = client_of(transport)
    named = {"metadata": {"name": name}}
    for call in (
        client.get(CONFIG_MAPS, name, "ns"),
        client.get(NODES, name),
        client.delete(CONFIG_MAPS, name, "ns"),
        client.replace(CONFIG_MAPS, {}, name, "ns"),
        client.replace(PODS, {}, name, "ns", subresource="scale"),
        client.patch(CONFIG_MAPS, name, "ns", body={}),
        client.patch(PODS, name, "ns", body={}, subresource="status"),
        client.create(PODS, {}, "ns", name=name, subresource="eviction"),
        client.apply(CONFIG_MAPS, named, "ns"),
    ):
        with pytest.raises(Invalid, match=r"a name of \w+ may not be"):
            await call
    assert transport.requests == []


@pytest.mark.parametrize("namespace", [None, ""])
async def test_a_namespaced_kind_is_not_written_or_read_by_name_without_a_namespace(
    transport: ScriptedTransport, namespace: str | None
) -> None:
    client = client_of(transport)
    for call in (
        client.create(PODS, {"metadata": {"name": "p"}}, namespace),
        client.get(PODS, "p", namespace),
        client.delete(PODS, "p", namespace),
        client.patch(PODS, "p", namespace, body={}),
        client.replace(PODS, {}, "p", namespace),
        client.apply(PODS, {"metadata": {"name": "p"}}, namespace),
    ):
        with pytest.raises(Invalid, match="pods are namespaced, and no namespace is given"):
            await call
    assert transport.requests == []


async def test_a_namespace_that_leads_to_another_path_is_refused(transport: ScriptedTransport) -> None:
    with pytest.raises(Invalid, match="a namespace may not be"):
        await client_of(transport).list(PODS, "../../nodes")


@pytest.mark.parametrize("precondition", [{"uid": ""}, {"resource_version": ""}])
async def test_an_empty_precondition_is_no_unconditional_delete(
    transport: ScriptedTransport, precondition: dict[str, str]
) -> None:
    with pytest.raises(Invalid, match="may not be empty"):
        await client_of(transport).delete(PODS, "p", "ns", **precondition)  # type: ignore[arg-type]
    assert transport.requests == []


async def test_a_struct_that_has_a_part_of_the_object_is_not_put_in_its_place(transport: ScriptedTransport) -> None:
    with pytest.raises(Invalid, match=r"Gauge has a part of the object's fields.*update.*apply.*typed"):
        await client_of(transport).replace(GAUGES, Gauge(metadata=READ), "g", "ns")
    assert transport.requests == []


async def test_an_update_sends_the_changes_onto_the_version_that_was_read(transport: ScriptedTransport) -> None:
    before = Gauge(metadata=READ, spec=GaugeSpec(unit="m", limits={"a": "1", "b": "2"}))
    after = Gauge(metadata=READ, spec=GaugeSpec(max_value=4, limits={"b": "3"}, colours=("red",)))
    await client_of(transport).update(GAUGES, before, after)
    (request,) = transport.requests
    assert request.headers["content-type"] == PatchKind.MERGE
    assert orjson.loads(request.body) == {
        "metadata": {"resourceVersion": "7", "uid": "u"},
        "spec": {"maxValue": 4, "unit": None, "limits": {"a": None, "b": "3"}, "colours": ["red"]},
    }


async def test_an_update_without_a_change_is_not_sent(transport: ScriptedTransport) -> None:
    gauge = Gauge(metadata=READ)
    assert await client_of(transport).update(GAUGES, gauge, gauge) is gauge
    assert transport.requests == []


async def test_an_update_of_a_list_of_objects_is_refused_by_its_path(transport: ScriptedTransport) -> None:
    before = Gauge(metadata=READ, spec=GaugeSpec(ports=(Port(1),)))
    after = Gauge(metadata=READ, spec=GaugeSpec(ports=(Port(2),)))
    with pytest.raises(Invalid, match=r"spec\.ports holds objects in a list"):
        await client_of(transport).update(GAUGES, before, after)
    assert transport.requests == []


async def test_an_update_may_fill_a_list_that_was_empty(transport: ScriptedTransport) -> None:
    before, after = Gauge(metadata=READ), Gauge(metadata=READ, spec=GaugeSpec(ports=(Port(2),)))
    await client_of(transport).update(GAUGES, before, after)
    assert orjson.loads(transport.requests[0].body)["spec"] == {"ports": [{"number": 2}]}


async def test_an_update_needs_the_state_that_was_read(transport: ScriptedTransport) -> None:
    made_up = Gauge(metadata=ObjectMeta(name="g", namespace="ns"))
    with pytest.raises(Invalid, match="no resourceVersion"):
        await client_of(transport).update(GAUGES, made_up, made_up)


async def test_apply_takes_structs_and_fills_in_version_and_kind(transport: ScriptedTransport) -> None:
    gauge = Gauge(metadata=ObjectMeta(name="g", namespace="ns"), spec=GaugeSpec(max_value=3))
    await client_of(transport).apply(GAUGES, gauge, field_manager="me", force=True)
    (request,) = transport.requests
    sent = orjson.loads(request.body)
    assert (sent["apiVersion"], sent["kind"]) == ("tools.example.org/v1", "Gauge")
    assert sent["spec"]["maxValue"] == 3
    assert request.path == "/apis/tools.example.org/v1/namespaces/ns/gauges/g"
    assert request.query == {"fieldManager": "me", "force": "true"}
    assert request.headers["content-type"] == PatchKind.APPLY


async def test_a_merge_patch_that_is_a_struct_is_refused(transport: ScriptedTransport) -> None:
    with pytest.raises(Invalid, match="a MERGE patch is JSON, and no Gauge: use update or apply"):
        await client_of(transport).patch(GAUGES, "g", "ns", body=Gauge())


async def test_a_resource_type_that_the_server_lacks_is_named() -> None:
    transport = ScriptedTransport(answer(b"404 page not found\n", 404))
    client = client_of(transport)
    with pytest.raises(NotFound, match=r"the server has no gauges in tools\.example\.org/v1"):
        await client.list(GAUGES, "ns")
    with pytest.raises(NotFound, match="the server has no pods in v1"):
        await client.create(PODS, {}, "ns")


def test_a_field_in_snake_case_is_reported_by_its_path() -> None:
    with pytest.warns(FieldNameWarning, match=r"Outer\.spec\.max_replicas is read from a field named 'max_replicas'"):
        Resource(kind="Outer", plural="outers", type=Outer)
    with pytest.warns(FieldNameWarning):
        CONFIG_MAPS.typed(Outer)


def test_a_snake_case_name_that_is_given_on_purpose_is_taken() -> None:
    class Meant(KubeObject, frozen=True):
        run_as_: str = msgspec.field(default="", name="run_as")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Resource(kind="Meant", plural="meants", type=Meant)


def found(finalizers: list[str], version: str = "7", uid: str = "u") -> dict[str, Any]:
    metadata = {"name": "g", "namespace": "ns", "uid": uid, "resourceVersion": version, "finalizers": finalizers}
    return {"metadata": metadata}


def written(transport: ScriptedTransport) -> list[Any]:
    return [orjson.loads(request.body)["metadata"] for request in transport.requests if request.method == "PATCH"]


async def test_adding_a_finalizer_keeps_other_controllers_finalizers_and_guards_the_version(
    transport: ScriptedTransport,
) -> None:
    assert await add_finalizer(client_of(transport), CONFIG_MAPS, found(["theirs"]), "mine")
    assert written(transport) == [{"resourceVersion": "7", "uid": "u", "finalizers": ["theirs", "mine"]}]


async def test_a_finalizer_that_is_there_or_gone_already_costs_no_request(transport: ScriptedTransport) -> None:
    client = client_of(transport)
    assert not await add_finalizer(client, CONFIG_MAPS, found(["mine"]), "mine")
    assert not await remove_finalizer(client, CONFIG_MAPS, found(["theirs"]), "mine")
    assert transport.requests == []


async def test_a_finalizer_that_another_controller_added_meanwhile_is_kept() -> None:
    transport = ScriptedTransport(failure(409), answer(found(["mine", "late"], "8")), answer(found(["late"], "9")))
    assert await remove_finalizer(client_of(transport), CONFIG_MAPS, found(["mine"]), "mine")
    assert written(transport)[-1] == {"resourceVersion": "8", "uid": "u", "finalizers": ["late"]}


async def test_a_recreated_object_of_the_same_name_is_left_alone() -> None:
    for change in (add_finalizer, remove_finalizer):
        transport = ScriptedTransport(failure(409), answer(found(["mine"], "8", "another")))
        obj = found(["mine"]) if change is remove_finalizer else found([])
        if change is add_finalizer:
            with pytest.raises(NotFound, match="another has its name"):
                await change(client_of(transport), CONFIG_MAPS, obj, "mine")
        else:
            assert not await change(client_of(transport), CONFIG_MAPS, obj, "mine")
        assert len(written(transport)) == 1


async def test_conflicts_without_end_are_given_up() -> None:
    transport = ScriptedTransport(*[failure(409), answer(found(["mine"], "8"))] * 5)
    with pytest.raises(Conflict):
        await remove_finalizer(client_of(transport), CONFIG_MAPS, found(["mine"]), "mine")
    assert len(written(transport)) == 5


@pytest.mark.parametrize("namespace", [".", "..", "a/b", "../../nodes", "a%2Fb"])
async def test_no_verb_takes_a_namespace_that_leads_to_another_path_however_often_it_is_asked(
    transport: ScriptedTransport, namespace: str
) -> None:
    client = client_of(transport)
    for _ in range(2):  # paths are remembered, refusals are not
        with pytest.raises(Invalid, match="a namespace"):
            await client.create(CONFIG_MAPS, {"metadata": {"name": "g"}}, namespace)
        with pytest.raises(Invalid, match="a namespace"):
            await client.list(CONFIG_MAPS, namespace)
    assert not transport.requests
