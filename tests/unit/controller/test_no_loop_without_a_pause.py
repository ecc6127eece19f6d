"""No loop without a pause: whatever a server, a store or another writer does for ever, requests and rounds of the
controller stay below what its settings say; and once it stops, the execution goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.config import EffectOptions, Settings
from propeller.controller import _controller, _intake
from propeller.controller._cache_lag import LOOK_SECONDS
from propeller.controller._checkpointer import CONFLICTS_LOOKED_INTO, Checkpointer
from propeller.embedded.server import Forward
from propeller.errors import NotFound, StorageError, Unavailable
from propeller.kube import ClientOptions, Request, Response
from propeller.storage import MemoryStore
from propeller.testing import run_virtually
from tests.examples import examples
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_finalizers import FLYTE
from tests.unit.controller.test_undecodable import ended, resource, succeed
from tests.unit.pace import most_tries

ONE_TRY = ClientOptions(deadline=0.05)
"""A read that fails is not tried again within its call, which has a test of its own."""

NODES = 2
WAYS_TO_PATCH = 2
"""Writes of a status, and what removes finalizers."""


class World:
    """Lets everything pass, and counts it by kind; `on` says whether its fault is."""

    bench: Bench

    def __init__(self) -> None:
        self.on = False
        self.requests: Counter[str] = Counter()

    async def exchange(self, request: Request, forward: Forward) -> Response:
        self.requests[kind_of(request)] += 1
        return await (self.fault(request, forward) if self.on else forward(request))

    async def fault(self, request: Request, forward: Forward) -> Response:
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk


def kind_of(request: Request) -> str:
    if request.method != "GET":
        return request.method
    return "follow" if request.query else "look"  # lists have a limit, watches say so; objects have no query


def limits(given: Settings, seconds: float) -> dict[str, float]:
    """The most requests of each kind in `seconds`, by the settings, for one execution of `NODES` nodes."""
    queue, informers, launches = given.queue, given.informers, given.launches
    follow = most_tries(seconds, informers.backoff, informers.backoff_cap)
    whole = most_tries(seconds, queue.backoff, queue.backoff_cap)
    effects = most_tries(seconds, EffectOptions().backoff, EffectOptions().backoff_cap)
    creates = most_tries(seconds, launches.pause, launches.pause_cap) + seconds / EffectOptions().quota_retry
    looks = 2 * seconds / LOOK_SECONDS
    found = {
        "follow": 2 * 3 * follow,  # two informers; a list that expires and comes in one piece, and a watch
        "PATCH": WAYS_TO_PATCH * whole * CONFLICTS_LOOKED_INTO,
        "look": whole * (CONFLICTS_LOOKED_INTO + 1) + looks + NODES * effects,
        "POST": NODES * creates,
        "DELETE": whole + NODES * effects,
    }
    return found | {"rounds": 3 * sum(found.values())}  # one for what came of a request, its event, and a timer


async def watch_over(world: World, seconds: float, *, body: dict[str, Any] | None = None) -> None:
    """Run one execution while the fault is on, and let it end when it is over."""
    async with bench(max_lag=0.0, client=ONE_TRY, store=getattr(world, "store", None)) as of:
        world.bench = of
        async with of.controller(world):
            world.on = True
            await of.user.create(WORKFLOWS, body or resource(), "ns")
            succeeding = asyncio.create_task(succeed(of))
            await asyncio.sleep(seconds)
            most = limits(of.settings, seconds)
            counts = world.requests | Counter(rounds=of.reconciles())
            over = {kind: (count, most[kind]) for kind, count in counts.items() if count > most[kind]}
            assert not over, over
            world.on = False
            with suppress(NotFound):  # an end that was written, and the object collected
                await ended(of, 4 * longest_pause(of.settings))
            succeeding.cancel()


def longest_pause(given: Settings) -> float:
    """Whatever waited goes on after so many seconds."""
    named = 1.1 * given.client.retry_after_cap
    return sum((named, given.queue.backoff_cap, given.informers.backoff_cap, 2 * given.launches.pause_cap, 60.0))


class Refuse(World):
    """Answers requests that `part` names with one status."""

    def __init__(self, method: str, part: str, code: int, retry_after: str = "0") -> None:
        super().__init__()
        self._method, self._part, self._code, self._after = method, part, code, retry_after

    async def fault(self, request: Request, forward: Forward) -> Response:
        if request.method != self._method or self._part not in request.path:
            return await forward(request)
        body = {"kind": "Status", "code": self._code, "message": "no", "reason": "Refused"}
        return Response(status=self._code, headers={"retry-after": self._after}, body=orjson.dumps(body))


class EndWatches(World):
    """Watches end after `events` events, or `seconds`; in order, or by a cut."""

    def __init__(self, events: int, seconds: float, *, cut: bool) -> None:
        super().__init__()
        self._events, self._seconds, self._cut = events, seconds, cut

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if not self.on:
            async for chunk in chunks:
                yield chunk
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                for _ in range(self._events):
                    yield await anext(chunks)
        if self._cut:
            raise Unavailable("the stream was cut")


class ExpireTokens(World):
    """Every list has a second page, whose token has expired; lists in one piece fail, too."""

    async def fault(self, request: Request, forward: Forward) -> Response:
        if "watch" in request.query or not request.query:
            return await forward(request)
        if "limit" in request.query and "continue" not in request.query:
            answer = orjson.loads((await forward(request)).body)
            answer["metadata"]["continue"] = "old"
            return Response(status=200, body=orjson.dumps(answer))
        return Response(status=410, body=b'{"code":410,"reason":"Expired"}')

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.on:
            yield b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
            return
        async for chunk in chunks:
            yield chunk


class SwallowStatuses(World):
    """Writes of statuses succeed, and change nothing."""

    async def fault(self, request: Request, forward: Forward) -> Response:
        if request.method == "PATCH" and request.path.endswith("/status"):
            read = msgspec.structs.replace(request, method="GET", path=request.path.removesuffix("/status"), body=b"")
            return await forward(read)
        return await forward(request)


class UndoStatuses(World):
    """Another writer takes every status away as soon as it is written."""

    async def fault(self, request: Request, forward: Forward) -> Response:
        answer = await forward(request)
        if request.method == "PATCH" and request.path.endswith("/status") and answer.status == 200:
            await self.bench.user.patch(WORKFLOWS, "w", "ns", body={"status": None, "x": None}, subresource="status")
        return answer


class PutFinalizersBack(World):
    """A finalizer of Flyte's is back as soon as it was removed."""

    async def fault(self, request: Request, forward: Forward) -> Response:
        answer = await forward(request)
        if request.method == "PATCH" and request.path.endswith("/w") and answer.status == 200:
            await self.bench.user.patch(WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": [FLYTE]}})
        return answer


class BreakStore(World):
    """The object store raises what `error` makes."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        world = self

        class Broken(MemoryStore):
            is_local = False

            def read_now(self, uri: str, limit: int) -> bytes | None:
                return None

            def write_now(self, uri: str, data: bytes) -> bool:
                return False

            async def read(self, uri: str, limit: int) -> bytes:
                self._trip()
                return await MemoryStore.read(self, uri, limit)

            async def write(self, uri: str, data: bytes) -> None:
                self._trip()
                MemoryStore.write_now(self, uri, data)

            def _trip(self) -> None:
                world.requests["look"] += 1
                if world.on:
                    raise error()

        self.store = Broken()


CODES = (400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503, 504)
TARGETS = (("PATCH", "flyteworkflows"), ("POST", "pods"), ("GET", "flyteworkflows"), ("GET", "pods"))
NAMED = ("", "0", "-1", "nan", "0.0001", "1", "1000000000", "Wed, 21 Oct 2065 07:28:00 GMT")
LONG = 1500.0
"""Seconds: many times the longest pause."""


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("method", "part"), TARGETS)
async def test_a_server_that_always_refuses_is_asked_with_pauses(method: str, part: str, code: int) -> None:
    await watch_over(Refuse(method, part, code), 600.0)


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize(("method", "part"), TARGETS)
async def test_whatever_pause_a_server_names_it_is_asked_with_pauses_and_never_forgotten(
    method: str, part: str, named: str
) -> None:
    """Regression: a Retry-After of 10^9 seconds put off a status for as long; with 0.0001 reads were sent on end."""
    await watch_over(Refuse(method, part, 503, named), 300.0)


WORLDS: dict[str, Callable[[], World]] = {
    "watches end at once": lambda: EndWatches(0, 1.0, cut=False),
    "watches are cut at once": lambda: EndWatches(0, 1.0, cut=True),
    "watches end after an event": lambda: EndWatches(1, 5.0, cut=False),
    "watches are cut after an event": lambda: EndWatches(1, 5.0, cut=True),
    "watches end after a second": lambda: EndWatches(1000, 1.1, cut=False),
    "lists and watches expire": ExpireTokens,
    "statuses are swallowed": SwallowStatuses,
    "statuses are undone": UndoStatuses,
    "the store is away": lambda: BreakStore(lambda: StorageError("the store is away")),
    "the store is broken": lambda: BreakStore(lambda: ZeroDivisionError("a defect")),
}


@pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS.keys())
async def test_what_goes_wrong_for_long_is_tried_with_pauses_and_the_execution_goes_on(
    make: Callable[[], World],
) -> None:
    await watch_over(make(), LONG)


async def test_a_finalizer_that_comes_back_for_ever_is_removed_with_pauses() -> None:
    """Regression: as fast as the server answered."""
    held = resource(metadata={"name": "w", "finalizers": [FLYTE]})
    await watch_over(PutFinalizersBack(), LONG, body=held)


async def test_the_rejection_of_a_workflow_that_is_undone_for_ever_is_written_with_pauses() -> None:
    """Regression: as fast as the server answered."""
    await watch_over(UndoStatuses(), LONG, body=resource(spec=None))


@pytest.mark.parametrize(
    ("module", "where"), [(_controller, "decide"), (_controller, "resume"), (_intake, "recover_attempts")]
)
async def test_a_defect_is_run_into_with_pauses(
    module: ModuleType, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the pause began anew each time that the execution had been loaded."""
    world, whole = World(), getattr(module, where)

    def broken(*arguments: Any, **options: Any) -> Any:
        if world.on:
            raise ZeroDivisionError("a defect")
        return whole(*arguments, **options)

    monkeypatch.setattr(module, where, broken)
    await watch_over(world, LONG)


async def test_a_status_whose_writing_has_a_defect_is_tried_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: five times a second."""
    world, whole = World(), Checkpointer.write

    async def broken(*arguments: Any) -> Any:
        world.requests["PATCH"] += 1
        if world.on:
            raise ZeroDivisionError("a defect")
        return await whole(*arguments)

    monkeypatch.setattr(Checkpointer, "write", broken)
    await watch_over(world, LONG)


@examples(20)
@given(
    make=st.one_of(
        st.sampled_from(list(WORLDS.values())),
        st.tuples(st.sampled_from(TARGETS), st.sampled_from(CODES), st.sampled_from(NAMED)).map(
            lambda drawn: lambda: Refuse(*drawn[0], drawn[1], drawn[2])
        ),
    ),
    seconds=st.sampled_from((10.0, 100.0, 1_000.0, 4_000.0)),
)
def test_in_any_time_and_world_requests_and_rounds_are_bounded_by_the_settings(
    make: Callable[[], World], seconds: float
) -> None:
    run_virtually(watch_over(make(), seconds))
