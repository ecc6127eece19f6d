"""Typed objects against servers: what is changed, what stays, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from propeller.errors import Conflict, Invalid, NotFound
from propeller.kube import CONFIG_MAPS, LEASES, KubeObject, Resource, add_finalizer, remove_finalizer
from propeller.testing import ServerUnderTest
from tests.contract.objects import config_map


class Small(KubeObject, frozen=True, rename="camel", omit_defaults=True):
    """A config map of which immutable is known, and the data is not."""

    immutable: bool = False


SMALL = CONFIG_MAPS.typed(Small)


async def test_an_empty_name_empties_no_namespace(server: ServerUnderTest) -> None:
    for name in ("a", "b"):
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    with pytest.raises(Invalid):
        await server.client.delete(CONFIG_MAPS, "", server.namespace)
    names = {item["metadata"]["name"] for item in (await server.client.list(CONFIG_MAPS, server.namespace)).items}
    assert names >= {"a", "b"}


async def test_an_update_keeps_the_fields_that_the_type_does_not_know(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    before = await server.client.get(SMALL, "a", server.namespace)
    after = await server.client.update(SMALL, before, msgspec.structs.replace(before, immutable=True))
    assert after.immutable
    assert (await server.client.get(CONFIG_MAPS, "a", server.namespace))["data"] == made["data"]


async def test_an_update_of_what_was_changed_since_is_a_conflict(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    before = await server.client.get(SMALL, "a", server.namespace)
    await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {"k": "w"}})
    with pytest.raises(Conflict):
        await server.client.update(SMALL, before, msgspec.structs.replace(before, immutable=True))


async def test_a_lease_that_is_replaced_keeps_its_preferred_holder(server: ServerUnderTest) -> None:
    spec = {"holderIdentity": "a", "strategy": "OldestEmulationVersion", "preferredHolder": "b"}
    body = {"metadata": {"name": "l"}, "spec": spec}
    await server.client.create(LEASES, body, server.namespace)
    lease = await server.client.get(LEASES, "l", server.namespace)
    await server.client.replace(LEASES, lease, "l", server.namespace)
    after = await server.client.get(LEASES.typed(dict), "l", server.namespace)
    assert after["spec"].get("preferredHolder") == (lease.spec.preferred_holder)
    assert lease.spec.holder_identity == "a"


async def test_a_struct_is_applied(server: ServerUnderTest) -> None:
    metadata = msgspec.convert({"name": "a", "labels": {"l": "1"}}, type(Small().metadata))
    applied = await server.client.apply(SMALL, Small(metadata=metadata), server.namespace, field_manager="me")
    assert applied.metadata.labels == {"l": "1"}
    assert (await server.client.apply(SMALL, applied_again(metadata), server.namespace, field_manager="me")).immutable


def applied_again(metadata: object) -> Small:
    return msgspec.convert({"metadata": msgspec.to_builtins(metadata), "immutable": True}, Small)


async def test_a_kind_that_the_server_lacks_is_reported_by_name(server: ServerUnderTest) -> None:
    lacking = Resource(group="no.such.example.com", kind="Gadget", plural="gadgets", type=dict)
    with pytest.raises(NotFound, match=r"gadgets.*no\.such\.example\.com|no\.such\.example\.com.*gadgets"):
        await server.client.list(lacking, server.namespace)


async def test_finalizers_of_two_controllers_do_not_remove_each_other(server: ServerUnderTest) -> None:
    client, namespace = server.client, server.namespace
    read = await client.create(CONFIG_MAPS, config_map("a"), namespace)
    assert await add_finalizer(client, CONFIG_MAPS, read, "example.com/one")
    assert await add_finalizer(client, CONFIG_MAPS, read, "example.com/two")  # from a state that is old by now
    held = await client.get(CONFIG_MAPS, "a", namespace)
    assert held["metadata"]["finalizers"] == ["example.com/one", "example.com/two"]
    await client.delete(CONFIG_MAPS, "a", namespace)
    assert await remove_finalizer(client, CONFIG_MAPS, held, "example.com/one")
    assert await remove_finalizer(client, CONFIG_MAPS, held, "example.com/two")
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAPS, "a", namespace)
    assert not await remove_finalizer(client, CONFIG_MAPS, held, "example.com/two")
