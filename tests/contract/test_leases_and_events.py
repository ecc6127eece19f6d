"""Leases as leader election uses them, and events as people read them."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from propeller.clock import SYSTEM_CLOCK
from propeller.embedded.kubelet import ClientApi
from propeller.embedded.kubelet._events import DELAY, SCHEDULER, Events, pod_reference
from propeller.errors import Conflict, NotFound, Rejected
from propeller.kube import EVENTS, LEASES, Lease, LeaseSpec, ObjectMeta
from propeller.reconcile import Election
from propeller.recording import WARNING
from propeller.testing import ServerUnderTest


def lease(holder: str, renewed: str = "2026-01-02T03:04:05.678901Z") -> Lease:
    spec = LeaseSpec(holder_identity=holder, lease_duration_seconds=15, renew_time=renewed, lease_transitions=1)
    return Lease(metadata=ObjectMeta(name="l"), spec=spec)


async def test_a_lease_comes_back_as_it_was_written(server: ServerUnderTest) -> None:
    made = await server.client.create(LEASES, lease("a"), server.namespace)
    assert made.spec == lease("a").spec


async def test_of_two_who_take_a_lease_one_succeeds(server: ServerUnderTest) -> None:
    made = await server.client.create(LEASES, lease("a"), server.namespace)
    for holder in ("b", "c"):
        taken = Lease(metadata=made.metadata, spec=lease(holder).spec)
        if holder == "b":
            await server.client.replace(LEASES, taken, "l", server.namespace)
        else:
            with pytest.raises(Conflict):
                await server.client.replace(LEASES, taken, "l", server.namespace)
    assert (await server.client.get(LEASES, "l", server.namespace)).spec.holder_identity == "b"


async def test_a_lease_that_was_deleted_is_not_renewed(server: ServerUnderTest) -> None:
    made = await server.client.create(LEASES, lease("a"), server.namespace)
    await server.client.delete(LEASES, "l", server.namespace)
    with pytest.raises(Conflict):
        await server.client.replace(LEASES, made, "l", server.namespace)
    with pytest.raises(NotFound):
        await server.client.get(LEASES, "l", server.namespace)


async def test_a_lease_with_a_duration_of_nothing_is_invalid(server: ServerUnderTest) -> None:
    body = {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}}
    with pytest.raises(Rejected, match=r"spec\.leaseDurationSeconds: Invalid value") as refused:
        await server.client.create(LEASES, body, server.namespace)
    assert refused.value.status == 422


async def test_a_lease_released_by_its_holder_is_taken_by_the_next(server: ServerUnderTest) -> None:
    for holder in ("a", "b"):
        async with Election(server.client, server.namespace, "leader", holder).lead() as leadership:
            leadership.check()
            found = await server.client.get(LEASES, "leader", server.namespace)
            assert found.spec.holder_identity == holder
            assert found.spec.lease_duration_seconds == 15
    assert (await server.client.get(LEASES, "leader", server.namespace)).spec.holder_identity in (None, "")


async def test_an_event_is_created_counted_and_read(server: ServerUnderTest) -> None:
    body = {
        "metadata": {"generateName": "w."},
        "involvedObject": {"kind": "FlyteWorkflow", "name": "w", "namespace": server.namespace},
        "reason": "NodeFailed",
        "message": "it broke",
        "type": "Warning",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "source": {"component": "propeller"},
    }
    made = await server.client.create(EVENTS, body, server.namespace)
    name = made["metadata"]["name"]
    after = await server.client.patch(EVENTS, name, server.namespace, body={"count": 2})
    assert (after["count"], after["message"], after["source"]) == (2, "it broke", {"component": "propeller"})


async def test_an_event_about_something_in_another_namespace_is_invalid(server: ServerUnderTest) -> None:
    body = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "a", "namespace": "other"}}
    with pytest.raises(Rejected, match=r"does not match event\.namespace") as refused:
        await server.client.create(EVENTS, body, server.namespace)
    assert refused.value.status == 422


async def test_the_events_of_the_embedded_kubelet_are_such_as_a_real_server_takes(server: ServerUnderTest) -> None:
    about = pod_reference({"metadata": {"name": "p", "namespace": server.namespace, "uid": "u"}}, "main")
    events = Events(ClientApi(server.client, follow=lambda _: nullcontext()), clock=SYSTEM_CLOCK, node_name="n")
    sending = asyncio.create_task(events.run())
    counts: dict[str, int] = {}
    async with asyncio.timeout(60):
        while counts.get("BackOff", 0) < 2 or counts.get("FailedScheduling", 0) < 2:  # created, and then patched
            events.record(about, WARNING, "BackOff", "Back-off restarting failed container")
            events.record(about, WARNING, "FailedScheduling", "no room", component=SCHEDULER, action="Scheduling")
            await asyncio.sleep(2 * DELAY)
            found = (await server.client.list(EVENTS, server.namespace)).items
            counts = {one["reason"]: (one.get("series") or one).get("count", 1) for one in found}
    sending.cancel()
    await asyncio.wait([sending])
    assert len(found) == 2
