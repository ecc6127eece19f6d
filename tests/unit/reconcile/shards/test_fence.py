"""Once the right to act is lost nothing that changes anything is sent, also by a process that was halted."""

from __future__ import annotations

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, NAMESPACES, Client
from propeller.reconcile import LeaseLost
from propeller.reconcile.shards import FencedTransport


async def test_reads_pass_and_writes_do_not() -> None:
    lost = False

    def check() -> None:
        if lost:
            raise LeaseLost("gone")

    async with ApiServer(clock=LoopClock()) as server:
        client = Client(FencedTransport(server.transport(), check))
        await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "ns")
        lost = True
        assert (await client.get(CONFIG_MAPS, "a", "ns")) is not None
        for write in (
            client.create(CONFIG_MAPS, {"metadata": {"name": "b"}}, "ns"),
            client.patch(CONFIG_MAPS, "a", "ns", body={"data": {"x": "y"}}),
            client.delete(CONFIG_MAPS, "a", "ns"),
        ):
            with pytest.raises(LeaseLost):
                await write
        assert [one["metadata"]["name"] for one in (await client.list(CONFIG_MAPS, "ns")).items] == ["a"]
