"""How large an object may be, and what a server says of a larger one."""

from __future__ import annotations

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Rejected, TooLarge
from propeller.kube import CONFIG_MAPS
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import config_map

MB = 1024 * 1024


async def test_an_object_of_a_megabyte_is_kept_whole(server: ServerUnderTest) -> None:
    text = "x" * (MB - 1024)
    await server.client.create(CONFIG_MAPS, config_map("a", text=text), server.namespace)
    read = await server.client.get(CONFIG_MAPS, "a", server.namespace)
    assert read["data"]["text"] == text


async def test_a_config_map_of_more_than_a_megabyte_is_invalid(server: ServerUnderTest) -> None:
    with pytest.raises(Rejected, match="Too long: may not be more than 1048576 bytes") as refused:
        await server.client.create(CONFIG_MAPS, config_map("a", text="x" * (MB + 1)), server.namespace)
    assert refused.value.status == 422


async def test_an_object_that_the_store_does_not_take_is_too_large(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, server.namespace)
    body = {"spec": {"text": "x" * 1_600_000}}
    with pytest.raises(TooLarge, match="request is too large"):
        await server.client.patch(FLYTE_WORKFLOWS, "w", server.namespace, body=body)
    assert "spec" not in await server.client.get(FLYTE_WORKFLOWS, "w", server.namespace)


async def test_a_body_over_the_servers_limit_is_too_large(server: ServerUnderTest) -> None:
    with pytest.raises(TooLarge, match=r"limit is 3145728 \(413\)"):
        await server.client.create(CONFIG_MAPS, config_map("a", text="x" * (3 * MB)), server.namespace)


async def test_annotations_over_a_quarter_of_a_megabyte_are_invalid(server: ServerUnderTest) -> None:
    body = config_map("a")
    body["metadata"]["annotations"] = {"example.org/text": "x" * (256 * 1024)}
    with pytest.raises(Rejected, match=r"metadata.annotations: Too long") as refused:
        await server.client.create(CONFIG_MAPS, body, server.namespace)
    assert refused.value.status == 422
