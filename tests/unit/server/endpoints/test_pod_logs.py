"""Logs of pods: which container, which part, and what is refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.errors import NotFound, Rejected, Unavailable
from propeller.kube import PODS, Client, Request
from tests.unit.server.asking import DEFAULT, ask, pod, send

LOG = f"{DEFAULT}/pods/p/log"


class Logs:
    """Remembers what it was asked for, and gives three lines, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.options: dict[str, Any] = {}
        self._error = error

    async def __call__(
        self, namespace: str, name: str, container: str | None = None, *, follow: bool = False, **options: Any
    ) -> AsyncIterator[bytes]:
        self.asked.append((namespace, name, container))
        self.options = options
        if self._error is not None:
            raise self._error
        for number in range(3):
            if follow:
                await asyncio.sleep(1)
            yield f"line {number}\n".encode()


async def started(client: Client, *containers: str) -> None:
    """A pod p on a node, with these containers, all running."""
    body = pod("p", node="n1")
    body["spec"]["containers"] = [{"name": name, "image": "i"} for name in containers]
    await client.create(PODS, body, "default")
    running = [
        {"name": name, "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "i", "imageID": "i"}
        for name in containers
    ]
    status = {"phase": "Running", "containerStatuses": running}
    await client.patch(PODS, "p", "default", body={"status": status}, subresource="status")


async def test_a_log_comes_from_the_hook(server: ApiServer, client: Client) -> None:
    server.logs = logs = Logs()
    await started(client, "main")
    answer = await send(server, "GET", LOG, tailLines="2")
    assert (answer.status, answer.body) == (200, b"line 0\nline 1\nline 2\n")
    assert answer.headers["content-type"] == "text/plain"
    assert logs.asked == [("default", "p", "main")]
    assert logs.options == {"tail": 2, "since": None, "timestamps": False, "previous": False}


async def test_a_log_that_is_followed_comes_as_it_is_written(server: ApiServer, client: Client) -> None:
    server.logs = Logs()
    await started(client, "main")
    request = Request(method="GET", path=LOG, query={"follow": "true"})
    async with server.transport().stream(request, deadline=5) as stream:
        chunks = aiter(stream)
        assert await anext(chunks) == b"line 0\n"
        assert [chunk async for chunk in chunks] == [b"line 1\n", b"line 2\n"]


async def test_the_container_must_be_named_if_there_are_several(server: ApiServer, client: Client) -> None:
    server.logs = logs = Logs()
    await started(client, "a", "b")
    refused = await ask(server, "GET", LOG)
    assert refused["message"] == "a container name must be specified for pod p, choose one of: [a b]"
    assert (await send(server, "GET", LOG, container="b")).status == 200
    assert logs.asked[0][2] == "b"
    assert (await ask(server, "GET", LOG, container="c"))["message"] == "container c is not valid for pod p"


async def test_the_log_of_an_unstarted_container_is_a_bad_request(server: ApiServer, client: Client) -> None:
    server.logs = Logs()
    await client.create(PODS, pod("p", node="n1"), "default")
    refused = await ask(server, "GET", LOG)
    assert refused["code"] == 400
    assert refused["message"] == 'container "main" in pod "p" is waiting to start: ContainerCreating'


async def test_without_a_hook_logs_are_not_implemented(server: ApiServer, client: Client) -> None:
    await started(client, "main")
    refused = await ask(server, "GET", LOG)
    assert (refused["kind"], refused["code"]) == ("Status", 501)


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFound("no such pod"), 404), (Rejected("no such container", status=400), 400), (Unavailable("broken"), 500)],
)
async def test_an_error_of_the_log_source_is_a_status(
    server: ApiServer, client: Client, error: Exception, code: int
) -> None:
    server.logs = Logs(error)
    await started(client, "main")
    assert (await ask(server, "GET", LOG))["code"] == code


async def test_a_log_is_asked_for_by_time(server: ApiServer, client: Client) -> None:
    server.logs = logs = Logs()
    await started(client, "main")
    await send(server, "GET", LOG, sinceSeconds="60", timestamps="true")
    assert logs.options["since"] == LoopClock().now() - 60
    assert logs.options["timestamps"]
    await send(server, "GET", LOG, sinceTime="2023-11-14T22:13:20.5+01:00")
    assert logs.options["since"] == 1_699_996_400.5


async def test_the_run_before_is_asked_for_if_one_has_ended(server: ApiServer, client: Client) -> None:
    server.logs = logs = Logs()
    await started(client, "main")
    refused = await ask(server, "GET", LOG, previous="true")
    assert refused["message"] == 'previous terminated container "main" in pod "p" not found'
    ended = {"exitCode": 1, "reason": "Error"}
    again = {"name": "main", "state": {"running": {}}, "lastState": {"terminated": ended}, "restartCount": 1}
    status = {"containerStatuses": [{**again, "ready": True, "image": "i", "imageID": "i"}]}
    await client.patch(PODS, "p", "default", body={"status": status}, subresource="status")
    assert (await send(server, "GET", LOG, previous="true")).status == 200
    assert logs.options["previous"]


async def test_a_log_that_is_followed_ends_at_its_limit(server: ApiServer, client: Client) -> None:
    server.logs = Logs()
    await started(client, "main")
    assert (await send(server, "GET", LOG, follow="true", limitBytes="10")).body == b"line 0\nlin"


async def test_a_log_may_be_limited_in_bytes(server: ApiServer, client: Client) -> None:
    server.logs = Logs()
    await started(client, "main")
    assert (await send(server, "GET", LOG, limitBytes="4")).body == b"line"


async def test_the_hook_may_be_given_at_birth() -> None:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0), logs=Logs()) as server:
        await started(Client(server.transport()), "main")
        assert (await send(server, "GET", LOG)).status == 200


async def test_a_node_that_the_scheduler_has_not_given_has_no_log_yet(server: ApiServer, client: Client) -> None:
    server.logs = logs = Logs()
    await client.create(PODS, pod("p"), "default")
    answer = await send(server, "GET", LOG)
    assert (answer.status, answer.body, logs.asked) == (204, b"", [])


async def test_the_pod_itself_must_be_there(server: ApiServer, client: Client) -> None:
    server.logs = Logs()
    assert (await ask(server, "GET", LOG))["message"] == 'pods "p" not found'
    assert [one.metadata.name for one in (await client.list(PODS, "default")).items] == []
