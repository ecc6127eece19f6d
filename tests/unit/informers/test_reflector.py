"""Following through faults: at the end the store is the list, and on the way it was never empty."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from unittest import mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Unavailable
from propeller.informers import Change, Informer, key_of
from propeller.kube import Raw, Request, Response, Stream
from propeller.testing import now, run_virtually
from tests.examples import examples
from tests.unit.informers.fake_api import GONE, SETTINGS, STREAMING, FakeApi, end_of_list, informer_of
from tests.unit.pace import most_tries

SOON = 5.0
LATER = 600.0


def versions(informer: Informer[Raw]) -> dict[str, int]:
    return {key_of(obj): int(obj["metadata"]["resourceVersion"]) for obj in informer.store}


async def equal(informer: Informer[Raw], api: FakeApi, deadline: float = LATER) -> None:
    """Wait until the store equals a fresh list."""
    async with asyncio.timeout(deadline):
        while versions(informer) != api.versions():
            await asyncio.sleep(0.1)


def change_all(api: FakeApi) -> None:
    """One object of each fate."""
    api.write("kept")
    api.delete("lost")
    api.write("new")


def change_all_but_lost(api: FakeApi) -> None:
    api.write("kept")
    api.write("new")


@pytest.fixture
def filled(api: FakeApi) -> FakeApi:
    api.write("kept")
    api.write("lost")
    return api


async def test_a_watch_resumes_after_the_last_version_seen(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.write("kept")
        await informer.wait_for_version(str(filled.version), SOON)
        filled.cut()
        change_all(filled)
        await equal(informer, filled)
        assert (filled.lists, filled.watches) == (1, [102, 103])
        assert informer.failures == 1


async def test_a_watch_resumes_after_a_bookmark(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        filled.version = 500
        filled.bookmark()
        await informer.wait_for_version("500", SOON)
        filled.forget()
        filled.cut()
        await asyncio.sleep(10)
        assert filled.watches == [102, 500]
        assert filled.lists == 1


async def test_a_watch_that_the_server_ends_is_resumed_at_once_and_is_no_failure(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(60)
        ended = now()
        filled.end()
        await asyncio.sleep(SETTINGS.backoff / 2)
        assert filled.open_watches == 1
        assert filled.at[-1] - ended < 0.1
        assert informer.failures == 0


async def test_a_server_that_ends_every_watch_at_once_is_not_hammered(filled: FakeApi) -> None:
    """Regression: watches were opened one after the other without a pause."""

    async def end_all() -> None:
        while True:
            filled.end()
            await asyncio.sleep(0.01)

    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        ending = asyncio.create_task(end_all())
        await asyncio.sleep(120)
        ending.cancel()
        assert len(filled.watches) < 20


async def test_a_relist_after_410_never_empties_the_store(filled: FakeApi) -> None:
    sizes: list[int] = []
    changes: list[str] = []
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)

        def note(change: Change[Raw]) -> None:
            sizes.append(len(informer.store))
            changes.append(change.key)

        informer.subscribe(note)
        changes.clear()
        filled.cut()
        change_all(filled)
        filled.forget()
        await equal(informer, filled)
        assert min(sizes) >= 1
        assert sorted(changes) == ["ns/kept", "ns/lost", "ns/new"]
        assert filled.lists == 2


async def test_a_410_within_a_watch_leads_to_a_new_list(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        filled.freeze()
        change_all(filled)
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        for watch in filled._open:
            watch.frozen = False
        filled.send_line(orjson.dumps({"type": "ERROR", "object": status}) + b"\n")
        await equal(informer, filled, 30)
        assert filled.lists == 2


async def test_a_server_that_always_says_410_is_asked_with_growing_pauses(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(2)
        filled.faults = [GONE] * 1000
        filled.cut()
        start = now()
        await asyncio.sleep(300)
        pauses = [after - before for before, after in itertools.pairwise(at for at in filled.at if at > start)]
        assert len(pauses) < 40
        assert max(pauses) > 10
        filled.faults.clear()
        await equal(informer, filled, 60)


@pytest.mark.parametrize(
    "fault",
    [
        Unavailable("nobody"),
        Response(status=503, body=b"<html>"),
        Response(status=200, body=b"<html>log in</html>"),
        Response(status=403, body=b'{"code":403,"message":"forbidden"}'),
        Response(status=404, body=b"404 page not found"),
    ],
    ids=["nobody", "html 503", "html 200", "forbidden", "no such type"],
)
async def test_a_list_that_fails_is_tried_again_with_growing_pauses_up_to_the_cap(
    filled: FakeApi, fault: Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    filled.faults = [fault] * 10_000
    async with informer_of(filled) as informer:
        with caplog.at_level(logging.WARNING):
            await asyncio.sleep(1_000)
        assert informer.failures >= 1_000 / (30 + 31)  # each try takes at most its deadline and the longest pause
        assert len(filled.at) < 1_000
        assert len(caplog.records) <= 3  # the 1st, the 10th, the 100th
        assert "configmaps: following failed, trying again" in caplog.text
        filled.faults.clear()
        await equal(informer, filled, 61)


async def test_a_list_that_expires_on_a_late_page_starts_over_in_one_piece_and_is_whole() -> None:
    api = FakeApi()
    for number in range(20):
        api.write(f"c{number}")
    fault = Response(status=410, body=b'{"code":410}')

    async def fail_page_seven() -> None:
        while api.lists < 6:
            await asyncio.sleep(0.0005)
        api.faults = [fault]

    failing = asyncio.create_task(fail_page_seven())
    async with informer_of(api, page_size=3) as informer:
        seen: list[Change[Raw]] = []
        informer.subscribe(seen.append)
        while api.lists < 6:
            await asyncio.sleep(0.0005)
        assert not informer.has_synced()
        await informer.wait_for_sync(LATER)
        assert versions(informer) == api.versions()
        assert sorted(change.key for change in seen) == sorted(api.versions())  # each once, and as a new one
        assert not any(change.old for change in seen)
        assert api.lists == 6 + 1
    await failing


async def test_a_server_that_does_not_know_lists_as_streams_is_asked_for_pages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApi()
    api.write("kept")
    async with informer_of(api, settings=STREAMING) as informer:
        await equal(informer, api)
        api.cut()
        change_all_but_lost(api)
        api.forget()
        await equal(informer, api)
        assert api.lists == 2
        assert len(api.at) == 1 + 2 + 2  # the refusal, two pages, two watches
        assert informer.failures == 1  # the cut


async def test_a_list_that_does_not_come_to_its_end_as_a_stream_is_asked_for_by_pages() -> None:
    api = FakeApi(streams=True)
    api.write("kept")
    api.unfinished = 1
    async with informer_of(api) as informer:
        await asyncio.sleep(SETTINGS.progress_deadline / 2)
        assert not informer.has_synced()
        await informer.wait_for_sync(SETTINGS.progress_deadline)
        await equal(informer, api)
        api.cut()
        change_all_but_lost(api)
        api.forget()
        await equal(informer, api)
        assert api.lists == 3  # a stream, pages, a stream


async def test_events_during_a_streaming_list_are_part_of_it() -> None:
    api = FakeApi(streams=True)
    for name in ("changed", "deleted", "kept"):
        api.write(name)
    api.unfinished = 1
    async with informer_of(api) as informer:
        await asyncio.sleep(1)
        api.write("changed")
        api.delete("deleted")
        api.write("new")
        api.send_line(end_of_list(api.version))
        await informer.wait_for_sync(SOON)
        assert versions(informer) == api.versions()
        assert informer.version == str(api.version)


async def test_a_version_is_not_reached_until_the_list_with_its_deletions_has_ended() -> None:
    """Regression: an end that came within a streamed list was taken for progress up to its version."""
    api = FakeApi(streams=True)
    for name in ("a", "b", "c"):
        api.write(name)
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        api.cut()
        api.delete("b")
        gone = str(api.version)
        api.forget()
        api.unfinished = 1
        while api.lists < 2:
            await asyncio.sleep(0.1)
        api.delete("c")
        with pytest.raises(Unavailable):
            await informer.wait_for_version(gone, SOON)
        api.send_line(end_of_list(api.version))
        await informer.wait_for_version(gone, SOON)
        assert versions(informer) == api.versions()


async def test_a_list_is_a_consistent_read_of_any_server(api: FakeApi) -> None:
    """A server that lags behind another must wait until it has caught up, not answer with what is old."""
    asked: list[str] = []
    send, stream = api.send, api.stream

    def note(request: Request) -> None:
        if request.query.get("limit") != "1" and ("watch" not in request.query or "sendInitialEvents" in request.query):
            asked.append(request.query.get("resourceVersion", ""))

    async def noted_send(request: Request, *, deadline: float) -> Response:
        note(request)
        return await send(request, deadline=deadline)

    def noted_stream(request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        note(request)
        return stream(request, deadline=deadline)

    with mock.patch.multiple(api, send=noted_send, stream=noted_stream):
        async with informer_of(api) as informer:
            await informer.wait_for_sync(SOON)
            api.write("new")
            await equal(informer, api)
            api.cut()
            change_all_but_lost(api)
            api.forget()
            await equal(informer, api)
    assert asked == ["", ""]


async def test_a_half_open_stream_is_noticed_and_resumed(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        filled.freeze()
        start = now()
        change_all(filled)
        await equal(informer, filled)
        assert SETTINGS.progress_deadline - 1 <= now() - start <= SETTINGS.progress_deadline + 2
        assert filled.open_watches == 1


async def test_bookmarks_keep_a_quiet_stream_open(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        for _ in range(10):
            await asyncio.sleep(60)
            filled.bookmark()
        assert len(filled.watches) == 1
        assert informer.failures == 0


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b'{"type":"ADDED","object":\n',
        b"[]\n",
        b'{"type":"ERROR","object":{"code":500,"message":"no"}}\n',
        b'{"type":"ERROR","object":{}}\n',
        b'{"type":"RENAMED","object":{}}\n',
        b"\xff\xfe\n",
    ],
    ids=["garbage", "truncated", "no event", "an error", "an empty error", "unknown type", "noise"],
)
async def test_a_line_that_is_no_event_is_a_failure_and_nothing_is_lost(filled: FakeApi, line: bytes) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        filled.write("kept")
        filled.send_line(line)
        change_all(filled)
        await equal(informer, filled)
        assert informer.failures == 1
        assert filled.lists == 1


async def test_a_watch_that_is_throttled_is_tried_again_when_the_server_says_and_not_before(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        body = b'{"code":429,"message":"storage is (re)initializing","details":{"retryAfterSeconds":20}}'
        filled.faults = [Response(status=429, body=body)]
        filled.end()
        start = now()
        await asyncio.sleep(100)
        throttled, after = [at for at in filled.at if at > start][:2]
        assert 20 <= after - throttled <= 22.1


async def test_a_pause_that_a_server_names_is_never_longer_than_the_cap(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        body = b'{"code":503,"details":{"retryAfterSeconds":86400}}'
        filled.faults = [Response(status=503, body=body)]
        filled.cut()
        change_all(filled)
        await equal(informer, filled, 2 * SETTINGS.backoff_cap)


async def test_the_pause_starts_small_again_once_events_have_come(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.faults = [Unavailable("nobody")] * 8
        filled.cut()
        await asyncio.sleep(300)
        filled.write("kept")
        await informer.wait_for_version(str(filled.version), SOON)
        start = now()
        filled.cut()
        change_all(filled)
        await equal(informer, filled)
        assert now() - start <= SETTINGS.backoff + 0.2


async def test_versions_that_went_back_are_followed_back(filled: FakeApi) -> None:
    """After a restored backup the store is the list again, whose versions are older."""
    filled.version = 1000
    filled.write("kept")
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.restore(500)
        filled.write("kept")
        filled.faults = [GONE]
        filled.cut()
        await equal(informer, filled)
        filled.write("kept")
        await equal(informer, filled)
        assert informer.version == str(filled.version)


async def test_an_exception_of_the_sink_does_not_end_the_reflector(
    filled: FakeApi, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the task ended silently."""
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        take, broken = informer._cache.on_event, iter([True])

        def fail_once(event: object) -> None:
            if next(broken, False):
                raise ZeroDivisionError
            take(event)  # type: ignore[arg-type] # it is an event

        monkeypatch.setattr(informer._cache, "on_event", fail_once)
        with caplog.at_level(logging.ERROR):
            change_all(filled)
            await equal(informer, filled)
        assert "ZeroDivisionError" in caplog.text
        assert informer.failures == 1


@examples(25)
@given(seed=st.integers(0, 2**32), streams=st.booleans())
def test_after_any_faults_the_store_equals_the_list_once_it_is_quiet(seed: int, streams: bool) -> None:
    run_virtually(_turmoil(random.Random(seed), FakeApi(streams=streams)))


async def _turmoil(rng: random.Random, api: FakeApi) -> None:
    names = [f"c{number}" for number in range(6)]
    mirror: dict[str, int] = {}

    def follow(change: Change[Raw]) -> None:
        """Changes fit one another, and no object goes back."""
        if change.new is None:
            del mirror[change.key]
            return
        version = int(change.new["metadata"]["resourceVersion"])
        assert (change.old is None) == (change.key not in mirror)
        assert version > mirror.get(change.key, 0)
        mirror[change.key] = version

    def write() -> None:
        name = rng.choice(names)
        if name in api.objects and rng.random() < 0.4:
            api.delete(name)
        else:
            api.write(name)

    def fail() -> None:
        faults: list[Response | Exception] = [Unavailable("nobody"), GONE, Response(status=500, body=b"<html>")]
        api.faults.append(rng.choice(faults))

    actions: list[Callable[[], None]] = [write] * 12 + [
        api.cut,
        api.end,
        api.freeze,
        api.forget,
        api.bookmark,
        fail,
        lambda: api.send_line(b"garbage\n"),
    ]
    async with informer_of(api, page_size=2) as informer:
        informer.subscribe(follow)
        for _ in range(150):
            rng.choice(actions)()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.expovariate(1 / 5))
        api.faults.clear()
        await equal(informer, api)
        assert mirror == api.versions()


@pytest.mark.parametrize("refusals", [0, 3, 20], ids=["at once", "after a bit", "long after"])
async def test_a_server_restored_from_an_older_copy_is_followed_once_it_answers_again(
    filled: FakeApi, caplog: pytest.LogCaptureFixture, refusals: int
) -> None:
    """Regression: the watch resumed at a version that the server had not reached again, and stayed silent."""
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        restored: list[dict[str, int]] = []
        informer.subscribe_restores(lambda: restored.append(versions(informer)))
        change_all(filled)
        await equal(informer, filled)
        await asyncio.sleep(60)
        filled.objects = copy
        filled.restore(copied)
        filled.faults = [Unavailable("nobody")] * refusals
        filled.cut()
        with caplog.at_level(logging.WARNING):
            await equal(informer, filled, LATER)
        assert restored == [filled.versions()]
        assert "restored from an older copy" in caplog.text
        assert informer.version == str(filled.version)


async def test_a_restored_server_that_keeps_the_watch_open_and_silent_is_noticed_by_the_silence(
    filled: FakeApi,
) -> None:
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        change_all(filled)
        await equal(informer, filled)
        filled.objects = copy
        filled.restore(copied)
        await equal(informer, filled, 2 * SETTINGS.progress_deadline)


async def test_a_bookmark_older_than_an_earlier_event_shows_a_restore(filled: FakeApi) -> None:
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        change_all(filled)
        await equal(informer, filled)
        await asyncio.sleep(10)
        filled.objects = copy
        filled.restore(copied)
        filled.bookmark()
        await equal(informer, filled, SOON)


def restore_and_overtake(api: FakeApi, copy: dict[str, Raw], copied: int, held: int) -> None:
    """Back to a copy, and on from there until the versions of before have been given out again."""
    api.objects = dict(copy)
    api.restore(copied)
    while api.version <= held:
        api.write("kept")


@pytest.mark.parametrize(
    "hides",
    [
        lambda api: None,
        lambda api: api.faults.append(Response(status=429, body=b'{"details":{"retryAfterSeconds":9}}')),
    ],
    ids=["in a long pause", "while the server refuses"],
)
async def test_a_restore_during_a_gap_is_followed_though_versions_have_overtaken(
    filled: FakeApi, caplog: pytest.LogCaptureFixture, hides: Callable[[FakeApi], None]
) -> None:
    """Regression: the server's version was beyond the one held, so the watch went on from there."""
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        change_all(filled)
        await equal(informer, filled)
        for _ in range(5):  # each cut makes the pauses longer
            await asyncio.sleep(1)
            filled.write("kept")
            await informer.wait_for_version(str(filled.version), 2 * SETTINGS.backoff_cap)
            filled.cut()
            await asyncio.sleep(0)
        await asyncio.sleep(2)
        hides(filled)
        with caplog.at_level(logging.WARNING):
            restore_and_overtake(filled, copy, copied, filled.version)
            bookmarks = asyncio.create_task(every(30, filled.bookmark))  # else watches that bring nothing tell
            await equal(informer, filled, SETTINGS.progress_deadline + SETTINGS.backoff_cap)
            bookmarks.cancel()


async def test_a_restore_in_a_silence_is_followed_though_versions_have_overtaken(filled: FakeApi) -> None:
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        change_all(filled)
        await equal(informer, filled)
        filled.freeze()
        restore_and_overtake(filled, copy, copied, filled.version)
        bookmarks = asyncio.create_task(every(30, filled.bookmark))
        await equal(informer, filled, SETTINGS.progress_deadline + SETTINGS.backoff_cap)
        bookmarks.cancel()


async def every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        do()


async def test_a_watch_that_ends_in_time_costs_a_question_and_shows_a_restore(filled: FakeApi) -> None:
    """Regression: a restored server whose watch ended in order was followed from a version that it did not have."""
    copy, copied = dict(filled.objects), filled.version
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        change_all(filled)
        await equal(informer, filled)
        for _ in range(12):
            await asyncio.sleep(50)
            filled.bookmark()
        filled.objects = copy
        filled.restore(copied)
        filled.end()
        await equal(informer, filled, 2 * SETTINGS.backoff)
        assert filled.probes == 1


async def test_a_server_that_only_lags_costs_a_question_and_no_list(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.write("kept")
        await equal(informer, filled)
        await asyncio.sleep(10)
        filled.send_line(orjson.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "50"}}}) + b"\n")
        await asyncio.sleep(10)
        assert (filled.lists, filled.probes, filled.open_watches) == (1, 1, 1)
        assert informer.restores == 0


async def test_a_wait_for_a_version_ends_with_a_restore(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.write("kept")
        await equal(informer, filled)
        await asyncio.sleep(10)
        waiting = asyncio.create_task(informer.wait_for_version("900", LATER))
        await asyncio.sleep(1)
        del filled.objects["lost"]
        filled.restore(101)
        filled.cut()
        start = now()
        await waiting
        assert now() - start <= 2 * SETTINGS.backoff_cap


@pytest.mark.parametrize("end", ["end", "cut", "error"])
async def test_an_informer_whose_watches_bring_nothing_lists_again(
    filled: FakeApi, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: such watches were opened for ever, and the store stayed as it was."""
    error = b'{"type":"ERROR","object":{"code":500,"message":"no"}}\n'
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        filled.freeze()
        filled._history.clear()

        async def spoil() -> None:
            while True:
                await asyncio.sleep(0.01)
                filled._history.clear()
                filled.send_line(error) if end == "error" else getattr(filled, end)()

        spoiling = asyncio.create_task(spoil())
        for watch in filled._open:
            watch.frozen = False
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                change_all_but_lost(filled)
                filled._history.clear()
                await equal(informer, filled, 2 * SETTINGS.backoff_cap)
        start, asked = now(), len(filled.at)
        await asyncio.sleep(1_000)
        assert len(filled.at) - asked < 4 * (now() - start) / SETTINGS.backoff_cap * 2
        assert 1 <= len([record for record in caplog.records if "following failed" in record.message]) <= 3
        spoiling.cancel()


async def test_watches_that_bring_nothing_for_long_lead_to_a_list(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        for _ in range(3):  # what ends a list that comes as a stream counts as something
            await asyncio.sleep(SETTINGS.progress_deadline - 5)
            filled.end()
        await asyncio.sleep(SOON)
        assert filled.lists == 2


async def test_a_list_whose_continue_token_always_expires_is_asked_for_in_one_piece() -> None:
    api = FakeApi()
    for number in range(20):
        api.write(f"c{number}")
    forget = asyncio.create_task(_expire_tokens(api))
    async with informer_of(api, page_size=3) as informer:
        await informer.wait_for_sync(SOON)
        assert versions(informer) == api.versions()
        assert api.lists == 3  # a page, a token that has expired, all of it
    forget.cancel()


async def _expire_tokens(api: FakeApi) -> None:
    while True:
        api._snapshots.clear()
        await asyncio.sleep(0.0002)


async def test_a_relist_is_made_though_the_watch_is_open_and_nothing_has_changed(
    filled: FakeApi,
) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(SOON)
        lists, told = informer.lists, list[int]()
        informer.relist(lambda: told.append(informer.lists))
        await asyncio.sleep(SOON)
        assert told == [lists + 1]
        filled.write("new")
        await equal(informer, filled)
        await asyncio.sleep(SOON)
        assert informer.lists == lists + 1
        assert informer.failures == 0


async def test_a_relist_is_made_though_events_come_at_that_moment(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        for number in range(5):
            await asyncio.sleep(SOON)
            told = list[int]()
            filled.write(f"new{number}")
            informer.relist(partial(told.append, 1))
            for _ in range(number):
                await asyncio.sleep(0)
            informer.relist(partial(told.append, 2))
            await asyncio.sleep(2 * SETTINGS.backoff_cap)
            assert told == [1, 2]
        assert informer.failures == 0


async def test_a_list_under_way_does_not_count_as_the_relist() -> None:
    api, told = FakeApi(), list[int]()
    for number in range(20):
        api.write(f"c{number}")
    async with informer_of(api, page_size=3) as informer:
        while api.lists < 2:
            await asyncio.sleep(0.0005)
        assert not informer.has_synced()
        informer.relist(lambda: told.append(informer.lists))
        await informer.wait_for_sync(SOON)
        assert not told
        await asyncio.sleep(SOON)
        assert told == [2]


async def test_endless_relists_have_growing_pauses(filled: FakeApi) -> None:
    """As two informers may that follow a server which is restored again and again."""
    async with informer_of(filled) as informer:

        def again() -> None:
            informer.relist(again)

        await informer.wait_for_sync(SOON)
        again()
        await asyncio.sleep(LATER)
        assert informer.lists < 2 * most_tries(LATER, SETTINGS.backoff, SETTINGS.backoff_cap)


async def test_a_list_that_is_asked_for_while_the_server_is_away_is_made_once_it_is_back(filled: FakeApi) -> None:
    async with informer_of(filled) as informer:
        await informer.wait_for_sync(SOON)
        told = asyncio.Event()
        filled.faults = [Unavailable("nobody")] * 5
        filled.cut()
        await asyncio.sleep(0.1)
        informer.relist(told.set)
        await asyncio.wait_for(told.wait(), LATER)
        assert not filled.faults
        assert versions(informer) == filled.versions()
