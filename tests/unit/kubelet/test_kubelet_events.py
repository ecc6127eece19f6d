"""Events on pods as the embedded API server has them afterwards: merged, counted, limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest

from propeller.clock import LoopClock
from propeller.embedded.kubelet import ClientApi, PodSeen
from propeller.embedded.kubelet._events import MAX_WAITING, SCHEDULER, Events, node_reference, pod_reference
from propeller.embedded.server import ApiServer
from propeller.kube import EVENTS, NAMESPACES, Client, Raw
from propeller.recording import NORMAL, OBJECT_BURST, OBJECT_PAUSE, WARNING

POD: Raw = {"metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "7"}}
SOON = 1.0


def follow(seen: PodSeen) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer(clock=LoopClock()) as server:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> Client:
    return Client(server.transport(), clock=LoopClock())


@pytest.fixture
async def events(client: Client) -> AsyncIterator[Events]:
    events = Events(ClientApi(client, follow=follow), clock=LoopClock(), node_name="n")
    sending = asyncio.create_task(events.run())
    yield events
    sending.cancel()
    await asyncio.wait([sending])


async def written(client: Client, namespace: str = "default") -> list[Raw]:
    await asyncio.sleep(SOON)
    return list((await client.list(EVENTS, namespace)).items)


async def test_an_event_names_the_container_and_the_kubelet_of_its_node(events: Events, client: Client) -> None:
    events.record(pod_reference(POD, "main", init=True), NORMAL, "Started", "Container started")
    (event,) = await written(client)
    assert event["involvedObject"] == {
        "kind": "Pod",
        "namespace": "default",
        "name": "p",
        "uid": "u",
        "apiVersion": "v1",
        "resourceVersion": "7",
        "fieldPath": "spec.initContainers{main}",
    }
    assert (event["source"], event["count"]) == ({"component": "kubelet", "host": "n"}, 1)
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert event["metadata"]["name"].startswith("p.")


async def test_the_scheduler_writes_the_newer_form_of_events(events: Events, client: Client) -> None:
    events.record(pod_reference(POD), NORMAL, "Scheduled", "assigned", component=SCHEDULER, action="Binding")
    (event,) = await written(client)
    assert (event["action"], event["reportingComponent"]) == ("Binding", "default-scheduler")
    assert "." in event["eventTime"]
    assert event.get("count") is None


async def test_repeated_queued_events_are_one_request(events: Events, client: Client, server: ApiServer) -> None:
    before = server.resource_version
    for _ in range(3):
        events.record(pod_reference(POD, "main"), WARNING, "BackOff", "Back-off")
    (event,) = await written(client)
    assert event["count"] == 3
    assert server.resource_version == before + 1


@pytest.mark.parametrize("component", ["kubelet", SCHEDULER])
async def test_a_repeated_event_raises_the_count(events: Events, client: Client, component: str) -> None:
    for _ in range(2):
        events.record(pod_reference(POD), WARNING, "Failed", "Error: x", component=component, action="A")
        (event,) = await written(client)
    assert (event.get("series") or event)["count"] == 2


async def test_containers_reasons_and_messages_are_events_of_their_own(events: Events, client: Client) -> None:
    for container in ("a", "b"):
        for message in ("Error: 1", "Error: 2"):
            events.record(pod_reference(POD, container), WARNING, "Failed", message)
    assert len(await written(client)) == 4


async def test_an_event_that_the_server_has_deleted_is_written_anew(events: Events, client: Client) -> None:
    events.record(pod_reference(POD), WARNING, "Failed", "Error: x")
    (event,) = await written(client)
    await client.delete(EVENTS, event["metadata"]["name"], "default")
    events.record(pod_reference(POD), WARNING, "Failed", "Error: x")
    (event,) = await written(client)
    assert event["count"] == 1


async def test_one_object_has_a_burst_of_requests_and_then_one_a_while(
    events: Events, client: Client, server: ApiServer
) -> None:
    before = server.resource_version
    for _ in range(3 * OBJECT_BURST):
        events.record(pod_reference(POD), WARNING, "Failed", "Error: x")
        await asyncio.sleep(SOON)
    assert server.resource_version == before + OBJECT_BURST
    await asyncio.sleep(OBJECT_PAUSE)
    other = {"metadata": {**POD["metadata"], "uid": "other"}}
    events.record(pod_reference(POD), WARNING, "Failed", "Error: x")
    events.record(pod_reference(other), WARNING, "Failed", "Error: x")
    assert len(await written(client)) == 2
    assert server.resource_version == before + OBJECT_BURST + 2


async def test_events_over_the_limit_are_dropped(events: Events, server: ApiServer) -> None:
    before = server.resource_version
    for number in range(MAX_WAITING + 10):
        about = pod_reference({"metadata": {**POD["metadata"], "uid": f"u{number}"}})
        events.record(about, NORMAL, "Pulled", "there")
    await asyncio.sleep(SOON)
    assert server.resource_version == before + MAX_WAITING


async def test_a_namespace_that_takes_no_events_stops_nothing(events: Events, client: Client) -> None:
    gone = {"metadata": {**POD["metadata"], "namespace": "gone"}}
    events.record(pod_reference(gone), NORMAL, "Killing", "Stopping container main")
    events.record(pod_reference(POD), NORMAL, "Pulled", "there")
    assert [event["reason"] for event in await written(client)] == ["Pulled"]
    await client.create(NAMESPACES, {"metadata": {"name": "gone"}})
    events.record(pod_reference(gone), NORMAL, "Killing", "Stopping container main")
    assert len(await written(client, "gone")) == 1


async def test_the_nodes_events_are_in_the_default_namespace(events: Events, client: Client) -> None:
    events.record(node_reference("n"), NORMAL, "Starting", "Starting kubelet.")
    (event,) = await written(client)
    assert event["involvedObject"] == {"kind": "Node", "name": "n", "uid": "n"}


async def test_a_message_is_one_bounded_visible_line(events: Events, client: Client) -> None:
    events.record(pod_reference(POD), WARNING, "Failed", "Error: \x1b[2J\n" + "x" * 100_000)
    (event,) = await written(client)
    assert len(event["message"]) < 1_100
    assert event["message"].isprintable()
