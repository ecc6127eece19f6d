"""No list and no watch without a pause: the settings bound the requests, whatever faults the server has."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.clock import LoopClock
from propeller.errors import Unavailable
from propeller.informers import Informer, InformerOptions
from propeller.informers._reflector import BUSY_WATCH_EVENTS
from propeller.kube import CONFIG_MAPS, Client, ClientOptions, Request, Response, Stream, _client
from propeller.testing import run_virtually
from tests.examples import examples
from tests.unit.informers.fake_api import line_of
from tests.unit.pace import most_tries

ONE_TRY = ClientOptions(deadline=0.05)
"""A read that fails is not tried again within its call: the loop around it is what is looked at."""

LIST_REQUESTS = 3
"""Of one list: two pages, and the whole list where the second has expired."""


class Watch(msgspec.Struct, frozen=True):
    """The fate of a watch: after `lasts` seconds it brings `line` and ends as `end` says."""

    lasts: float
    line: str
    """`newer`, `older`, `bookmark`, `gone` (an ERROR event), `junk` or nothing."""
    end: str
    """`orderly`, `cut`, or `silent`: it stays open."""
    lines: int = 1


class Hostile:
    """Answers lists by the codes of `lists`, and watches as `watches` say, over and over."""

    def __init__(self, lists: Sequence[str], watches: Sequence[Watch], retry_after: str = "") -> None:
        self.requests = 0
        self._lists, self._watches = itertools.cycle(lists), itertools.cycle(watches)
        self._headers = {"retry-after": retry_after} if retry_after else {}
        self._version = 100
        self._tokens = itertools.count(1)

    async def send(self, request: Request, *, deadline: float) -> Response:
        self.requests += 1
        if request.query.get("limit") == "1":
            return self._page()
        behaviour = "expired" if "continue" in request.query else next(self._lists)
        match behaviour:
            case "good":
                return self._page()
            case "expired":
                return Response(status=410, body=b'{"code":410}') if "continue" in request.query else self._page("old")
            case "cut":
                raise Unavailable("the connection broke")
            case code:
                return Response(status=int(code), headers=self._headers, body=b'{"message":"no"}')

    def _page(self, token: str = "") -> Response:
        metadata = {"resourceVersion": str(self._version), "continue": token}
        return Response(status=200, body=orjson.dumps({"metadata": metadata, "items": []}))

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._stream()

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[Stream]:
        self.requests += 1
        yield _Open(self, next(self._watches))

    def line(self, kind: str) -> bytes:
        def at(version: int) -> dict[str, object]:
            return {"metadata": {"name": "c", "namespace": "ns", "resourceVersion": str(version)}}

        match kind:
            case "newer":
                self._version += 1
                return line_of("ADDED", at(self._version))
            case "older":
                return line_of("ADDED", at(1))
            case "bookmark":
                return line_of("BOOKMARK", at(self._version))
            case "gone":
                return line_of("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            case "junk":
                return b"junk\n"
            case _:
                return b""

    async def close(self) -> None:
        """Nothing is open."""


class _Open:
    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, server: Hostile, watch: Watch) -> None:
        self._server, self._watch = server, watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(self._watch.lasts)
        for _ in range(self._watch.lines):
            yield self._server.line(self._watch.line)
        if self._watch.end == "silent":
            await asyncio.sleep(1e9)
        if self._watch.end == "cut":
            raise Unavailable("the stream was cut")


async def asked(server: Hostile, informers: InformerOptions, seconds: float) -> int:
    """How many requests an informer sends in so many virtual seconds."""
    client = Client(server, ONE_TRY, clock=LoopClock())
    async with Informer(client, CONFIG_MAPS, namespace="ns", settings=informers):
        await asyncio.sleep(seconds)
    return server.requests


WATCHES = st.builds(
    Watch,
    st.sampled_from((0.0, 0.9, 1.1, 7.0, 20.0, 61.0, 130.0)),
    st.sampled_from(("newer", "older", "bookmark", "gone", "junk", "")),
    st.sampled_from(("orderly", "cut", "silent")),
)
LISTS = st.sampled_from(("good", "good", "expired", "cut", "410", "429", "403", "404", "500", "503"))
PAUSES = st.sampled_from(("", "0", "-1", "nan", "0.0001", "1", "1e9", "Wed, 21 Oct 2065 07:28:00 GMT"))
SETTINGS = st.builds(
    InformerOptions,
    backoff=st.sampled_from((0.1, 0.5, 2.0)),
    backoff_cap=st.sampled_from((5.0, 30.0)),
    watch_timeout=st.sampled_from((60.0, 300.0)),
    progress_deadline=st.sampled_from((20.0, 90.0)),
    stream_lists=st.booleans(),
)


@examples(150)
@given(
    lists=st.lists(LISTS, min_size=1, max_size=3),
    watches=st.lists(WATCHES, min_size=1, max_size=3),
    retry_after=PAUSES,
    informers=SETTINGS,
    seconds=st.sampled_from((100.0, 1_000.0, 20_000.0)),
)
def test_requests_have_pauses_whatever_faults_lists_and_watches_have(
    lists: list[str], watches: list[Watch], retry_after: str, informers: InformerOptions, seconds: float
) -> None:
    """Regression: each event began the pauses anew, so that a watch cut after one event was opened 3 times a second."""
    server = Hostile(lists, watches, retry_after)
    most = most_tries(seconds, informers.backoff, informers.backoff_cap) * (LIST_REQUESTS + 1)
    assert run_virtually(asked(server, informers, seconds)) <= most


@pytest.mark.parametrize("watch", [Watch(0.0, "newer", "cut"), Watch(1.1, "newer", "orderly")])
async def test_a_watch_that_ends_soon_after_one_event_is_opened_with_growing_pauses(watch: Watch) -> None:
    most = most_tries(3600, InformerOptions().backoff, InformerOptions().backoff_cap)
    assert await asked(Hostile(["good"], [watch]), InformerOptions(), 3600) <= 2 * most  # a probe and a watch


async def test_a_watch_that_lasted_is_opened_again_without_the_pauses_of_an_outage() -> None:
    """A proxy that cuts what has been open for a while must not leave the cache behind for half of the time."""
    informers = InformerOptions()
    server = Hostile(["good"], [Watch(45.0, "newer", "cut")])
    assert await asked(server, informers, 4600) >= 2 * 4600 / (45 + informers.backoff + 0.1) - 2


@pytest.mark.parametrize("lasts", [0.0, 0.3, 2.0])
async def test_a_watch_that_the_server_ends_in_the_middle_of_a_burst_is_resumed_without_growing_pauses(
    lasts: float,
) -> None:
    """Regression: kube-apiserver ends watches of clients that it cannot serve fast enough; the pauses grew to 30 s, in
    which nothing was seen of thousands of pods.
    """
    informers = InformerOptions()
    server = Hostile(["good"], [Watch(lasts, "newer", "orderly", lines=BUSY_WATCH_EVENTS)])
    seconds = 600
    requests = await asked(server, informers, seconds)
    most_late = max(lasts, informers.backoff) + 0.1
    least_late = max(lasts, informers.backoff / 2)
    assert 2 * seconds / most_late - 4 <= requests <= 2 * seconds / least_late + 4  # a probe and a watch


@pytest.mark.parametrize("behaviour", ["endless", "repeating"])
async def test_a_list_that_never_ends_by_pages_is_asked_for_in_one_piece_from_then_on(
    behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: pages were asked for without a pause, 20,000 of them with every try."""
    monkeypatch.setattr(_client, "MAX_PAGES", 500)

    class EndlessPages(Hostile):
        async def send(self, request: Request, *, deadline: float) -> Response:
            self.requests += 1
            return self._page(
                f"token {next(self._tokens) if behaviour == 'endless' else 0}" * ("limit" in request.query)
            )

    server = EndlessPages(["good"], [Watch(0.0, "gone", "cut")])
    informers = InformerOptions()
    most = 500 + 2 + most_tries(3600, informers.backoff, informers.backoff_cap) * 2
    assert await asked(server, informers, 3600) <= most


async def test_a_list_without_a_limit_that_is_only_a_part_is_never_taken_for_all() -> None:
    class Partial(Hostile):
        async def send(self, request: Request, *, deadline: float) -> Response:
            self.requests += 1
            return self._page("token")

    client = Client(Partial(["good"], [Watch(1e9, "", "silent")]), ONE_TRY, clock=LoopClock())
    async with Informer(client, CONFIG_MAPS, namespace="ns") as informer:
        await asyncio.sleep(600)
        assert not informer.has_synced()
        assert informer.failures
