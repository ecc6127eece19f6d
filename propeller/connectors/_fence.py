"""Let no call leave that changes a job, once this process has lost the right to act.

Guarantees
    The check is made when the call leaves, after every wait for its turn, as `reconcile.shards.FencedTransport` does
    for requests to API servers: a process that was halted meanwhile begins no job and deletes none. Looks, logs,
    metrics and lists pass, as they change nothing.
Caveats
    A call that had left before the process was halted takes effect.
"""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2

from propeller.connectors._channel import Channel, OpenChannel, open_channel
from propeller.connectors._options import ConnectorOptions, ConnectorService

MayAct = Callable[[], None]
"""Raises LeaseLost, which is Retryable, once this process may change nothing any more."""


def always() -> None:
    """Let a process act that shares its work with no other."""


def fenced(may_act: MayAct, opened: OpenChannel = open_channel) -> OpenChannel:
    """Return how to open a channel that changes nothing unless `may_act` lets it."""

    def open_fenced(service: ConnectorService, options: ConnectorOptions) -> Channel:
        return _FencedChannel(opened(service, options), may_act)

    return open_fenced


class _FencedChannel:
    """Guarantees: see the module's text."""

    def __init__(self, channel: Channel, may_act: MayAct) -> None:
        self._channel = channel
        self._may_act = may_act
        self.list_agents = channel.list_agents
        self.get = channel.get
        self.logs = channel.logs
        self.metrics = channel.metrics
        self.close = channel.close

    @property
    def name(self) -> str:
        return self._channel.name

    async def create(self, request: agent_pb2.CreateTaskRequest) -> bytes:
        self._may_act()
        return await self._channel.create(request)

    async def delete(self, request: agent_pb2.DeleteTaskRequest) -> None:
        self._may_act()
        await self._channel.delete(request)

    async def execute(
        self, header: agent_pb2.CreateRequestHeader, inputs: literals_pb2.LiteralMap
    ) -> agent_pb2.Resource:
        self._may_act()
        return await self._channel.execute(header, inputs)
