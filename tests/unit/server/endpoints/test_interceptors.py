"""The seam for faults: what stands between a client and the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from propeller.clock import LoopClock
from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Throttled, Unavailable
from propeller.kube import CONFIG_MAPS, Client, ClientOptions, Request, Response
from propeller.testing import now
from tests.unit.server.asking import config_map, names


class Passing:
    """Changes nothing."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


class Slow(Passing):
    async def exchange(self, request: Request, forward: Forward) -> Response:
        await asyncio.sleep(5)
        return await forward(request)


class LosingRequests(Passing):
    async def exchange(self, request: Request, forward: Forward) -> Response:
        raise Unavailable("lost on the way there")


class LosingAnswers(Passing):
    async def exchange(self, request: Request, forward: Forward) -> Response:
        await forward(request)
        raise Unavailable("lost on the way back")


class Busy(Passing):
    async def exchange(self, request: Request, forward: Forward) -> Response:
        return Response(status=429, headers={"retry-after": "7"}, body=b"Too many requests, please try again later.")


class Cutting(Passing):
    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield await anext(chunks)
        raise Unavailable("cut")


def through(server: ApiServer, interceptor: Passing, deadline: float = 30.0) -> Client:
    return Client(server.transport(interceptor=interceptor), ClientOptions(deadline=deadline), clock=LoopClock())


async def test_an_interceptor_that_only_passes_on_is_not_noticed(server: ApiServer) -> None:
    client = through(server, Passing())
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert await names(client, CONFIG_MAPS) == ["a"]
    assert (await anext(client.watch(CONFIG_MAPS, "default", resource_version="0"))).object["metadata"]["name"] == "a"


async def test_latency_is_the_interceptors_sleep(server: ApiServer) -> None:
    begun = now()
    await through(server, Slow()).create(CONFIG_MAPS, config_map("a"), "default")
    assert now() - begun == 5.0


async def test_an_exchange_that_takes_longer_than_its_deadline_is_unavailable_and_has_no_effect(
    server: ApiServer, client: Client
) -> None:
    with pytest.raises(Unavailable, match="did not answer POST"):
        await through(server, Slow(), deadline=2).create(CONFIG_MAPS, config_map("a"), "default")
    await asyncio.sleep(10)
    assert await names(client, CONFIG_MAPS) == []


async def test_a_lost_request_has_no_effect(server: ApiServer, client: Client) -> None:
    with pytest.raises(Unavailable, match="on the way there"):
        await through(server, LosingRequests()).create(CONFIG_MAPS, config_map("a"), "default")
    assert await names(client, CONFIG_MAPS) == []


async def test_a_lost_answer_had_its_effect(server: ApiServer, client: Client) -> None:
    with pytest.raises(Unavailable, match="on the way back"):
        await through(server, LosingAnswers()).create(CONFIG_MAPS, config_map("a"), "default")
    assert await names(client, CONFIG_MAPS) == ["a"]


async def test_an_interceptor_may_answer_by_itself(server: ApiServer) -> None:
    with pytest.raises(Throttled) as refused:
        await through(server, Busy()).create(CONFIG_MAPS, config_map("a"), "default")
    assert refused.value.after == 7


async def test_a_stream_is_cut_by_its_interceptor(server: ApiServer, client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    watch = through(server, Cutting()).watch(CONFIG_MAPS, "default", resource_version="0")
    assert (await anext(watch)).object["metadata"]["name"] == "a"
    with pytest.raises(Unavailable, match="cut"):
        await anext(watch)


async def test_a_cancelled_request_that_has_not_begun_has_no_effect(server: ApiServer, client: Client) -> None:
    task = asyncio.create_task(client.create(CONFIG_MAPS, config_map("a"), "default"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(client, CONFIG_MAPS) == []


async def test_requests_over_the_limit_get_429_with_retry_after() -> None:
    settings = ApiServerOptions(max_in_flight=2, retry_after=3)
    async with ApiServer(settings, clock=LoopClock(), randomness=random.Random(0)) as server:
        client = through(server, Slow())
        tasks = [client.create(CONFIG_MAPS, config_map(name), "default") for name in "abc"]
        *made, refused = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one["metadata"]["name"] for one in made] == ["a", "b"]  # type: ignore[index]
        assert isinstance(refused, Throttled)
        assert refused.after == 3
        assert server.in_flight == 0


async def test_open_watches_count_for_nothing_in_the_limit() -> None:
    async with ApiServer(ApiServerOptions(max_in_flight=1), clock=LoopClock(), randomness=random.Random(0)) as server:
        client = Client(server.transport())
        await client.create(CONFIG_MAPS, config_map("a"), "default")
        watches = [client.watch(CONFIG_MAPS, "default", resource_version="0") for _ in range(3)]
        assert len([await anext(watch) for watch in watches]) == 3
        await client.create(CONFIG_MAPS, config_map("b"), "default")
        for watch in watches:
            await watch.aclose()
