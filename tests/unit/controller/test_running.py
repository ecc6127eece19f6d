"""How the controller opens and closes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from propeller.clock import LoopClock
from propeller.controller import WorkflowController, workflow_crd
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Unavailable
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Request, Response
from propeller.storage import Storage
from tests.unit.controller.bench import bench


class _NoLists:
    """Answers only requests for a single object, such as the one that finds out what may be read."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.path.endswith("/flyteworkflows") and request.query.get("limit") != "1":
            raise Unavailable("the connection broke")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_where_caches_cannot_be_filled_opening_raises_that_and_no_group_of_errors() -> None:
    clock = LoopClock()
    async with ApiServer(clock=clock, randomness=random.Random(0)) as server, Storage() as storage:
        await Client(server.transport(), clock=clock).create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        client = Client(server.transport(interceptor=_NoLists()), clock=clock)
        with pytest.raises(Unavailable, match="flyteworkflows could not be listed"):
            async with WorkflowController(client, storage, clock=clock).running():
                pytest.fail("it is not open")


async def test_what_the_caller_raises_comes_out_as_it_is() -> None:
    """Regression: it came out within three groups."""
    with pytest.raises(ZeroDivisionError):
        async with bench() as of, of.controller():
            raise ZeroDivisionError
