"""A sync of a server that is busy, or does not answer."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Conflict, PropellerError, Throttled, Unavailable, WebhookUnavailable
from propeller.kube import Client, Request, Response
from propeller.tenants import Action, ClusterReport, Rendered, SyncOptions, sync

MAPS = [
    Rendered("t.yaml", "p/d", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{number}"}}, "default")
    for number in range(50)
]


class Link:
    """Fails applies as it is told."""

    def __init__(self, *errors: PropellerError, always: PropellerError | None = None) -> None:
        self._errors = list(errors)
        self._always = always
        self.applies = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "PATCH":
            self.applies += 1
            if self._always is not None:
                raise self._always
            if self._errors:
                raise self._errors.pop()
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk


async def synced(link: Link) -> ClusterReport:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        client = Client(server.transport(interceptor=link), clock=LoopClock())
        return await sync(client, "c", "test", MAPS, SyncOptions(prune=True))


async def test_an_object_that_the_server_has_no_room_for_is_tried_again() -> None:
    link = Link(Throttled("wait", after=30.0), Conflict("it was changed"))
    report = await synced(link)
    assert {change.action for change in report.changes} == {Action.CREATED}
    assert link.applies == len(MAPS) + 2


async def test_a_server_that_has_no_room_for_long_fails_objects_one_by_one() -> None:
    link = Link(always=Throttled("wait"))
    report = await synced(link)
    assert {change.action for change in report.changes} == {Action.FAILED}
    assert link.applies == 4 * len(MAPS)


async def test_a_server_that_answers_nothing_is_given_up_after_a_few_objects() -> None:
    link = Link(always=Unavailable("nobody there"))
    report = await synced(link)
    assert [str(change.error) for change in report.changes] == ["nobody there"] * len(MAPS)
    assert link.applies <= 2 * 8


async def test_a_webhook_that_does_not_answer_is_not_the_servers_silence() -> None:
    link = Link(always=WebhookUnavailable("its webhook is down"))
    report = await synced(link)
    assert link.applies == len(MAPS)
    assert report.has_failed
