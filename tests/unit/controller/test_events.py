"""Events are few: merged, limited, dropped rather than waited for, and fit to be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from propeller.config import EventOptions
from propeller.controller._events import MAX_WAITING, Recorder, Subject
from propeller.errors import Denied
from propeller.kube import EVENTS, Client, Raw
from propeller.recording import MESSAGE_CHARACTERS, NORMAL, OBJECT_BURST, WARNING
from tests.unit.controller.bench import Bench, bench


def subject(number: int = 0) -> Subject:
    return Subject("ns", f"w{number}", f"uid-{number}")


@asynccontextmanager
async def recording(**settings: Any) -> AsyncIterator[tuple[Bench, Recorder]]:
    async with bench() as world, Recorder(world.user, EventOptions(**settings), world.clock) as recorder:
        yield world, recorder


async def events(world: Bench, seconds: float = 15.0) -> list[Raw]:
    """What the server has after some time."""
    await asyncio.sleep(seconds)
    return list((await world.user.list(EVENTS, "ns")).items)


async def test_an_event_is_about_the_workflow_and_says_who_reports_what() -> None:
    async with recording() as (world, recorder):
        recorder.record(subject(), WARNING, "Waiting", "no room")
        (event,) = await events(world)
    assert event["involvedObject"] == {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "namespace": "ns",
        "name": "w0",
        "uid": "uid-0",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == (WARNING, "Waiting", "no room", 1)
    assert event["source"] == {"component": "propeller"}
    assert event["firstTimestamp"] == event["lastTimestamp"]


async def test_of_an_execution_that_ends_soon_the_end_alone_is_told() -> None:
    async with recording() as (world, recorder):
        recorder.record(subject(), NORMAL, "Accepted", "the execution has begun")
        await asyncio.sleep(5)
        recorder.record(subject(), WARNING, "NodeFailed", "node n0: boom")
        recorder.record_end(subject(), WARNING, "Failed", "after 5 s: node n0: boom")
        assert [event["reason"] for event in await events(world)] == ["Failed"]
        assert +recorder.counts == {"sent": 1}


async def test_of_one_that_goes_on_its_begin_is_told() -> None:
    async with recording() as (world, recorder):
        recorder.record(subject(), NORMAL, "Accepted", "the execution has begun")
        assert [event["reason"] for event in await events(world)] == ["Accepted"]


async def test_what_repeats_is_one_event_with_a_count() -> None:
    async with recording() as (world, recorder):
        for number in range(3):
            recorder.record(subject(), WARNING, "NodeFailed", f"node n{number}: boom")
        (event,) = await events(world)
        assert (event["message"], event["count"]) == ("node n2: boom (the last of 3)", 3)
        recorder.record(subject(), WARNING, "NodeFailed", "node n9: boom")
        (again,) = await events(world)
        assert again["metadata"]["uid"] == event["metadata"]["uid"]
        assert (again["message"], again["count"]) == ("node n9: boom", 4)
        assert again["lastTimestamp"] > again["firstTimestamp"]


async def test_an_event_that_the_server_has_deleted_is_made_anew() -> None:
    async with recording() as (world, recorder):
        recorder.record(subject(), WARNING, "NodeFailed", "a")
        (event,) = await events(world)
        await world.user.delete(EVENTS, event["metadata"]["name"], "ns")
        recorder.record(subject(), WARNING, "NodeFailed", "b")
        (again,) = await events(world)
        assert (again["message"], again["count"]) == ("b", 1)


@pytest.mark.parametrize("executions", [100, 1000, 3000])
async def test_a_burst_of_ends_costs_one_request_for_ten_at_most(executions: int) -> None:
    async with recording() as (world, recorder):
        for number in range(executions):
            recorder.record(subject(number), NORMAL, "Accepted", "the execution has begun")
            recorder.record(subject(number), WARNING, "NodeFailed", "boom")
            recorder.record_end(subject(number), WARNING, "Failed", "boom")
            if number % 50 == 0:
                await asyncio.sleep(0.25)
        sent = len(await events(world))
        assert 5 <= sent <= executions / 10
        assert recorder.counts["sent"] == sent
        assert recorder.counts["dropped"] + sent >= executions


async def test_a_burst_of_successes_costs_nearly_nothing() -> None:
    async with recording() as (world, recorder):
        for number in range(1000):
            recorder.record(subject(number), NORMAL, "Accepted", "the execution has begun")
            recorder.record_end(subject(number), NORMAL, "Succeeded", "after 1 s")
        assert 1 <= len(await events(world)) <= 5


async def test_a_handful_that_fails_is_told_of_in_full_whatever_succeeded_before() -> None:
    async with recording() as (world, recorder):
        for number in range(100):
            recorder.record_end(subject(number), NORMAL, "Succeeded", "after 1 s")
        await asyncio.sleep(5)
        for number in range(200, 203):
            recorder.record_end(subject(number), WARNING, "Failed", "boom")
        failed = [event for event in await events(world) if event["reason"] == "Failed"]
        assert len(failed) == 3


async def test_one_execution_that_repeats_itself_for_hours_is_limited_by_itself() -> None:
    async with recording(burst=10_000, pause=0.001) as (world, recorder):
        seconds = 3600
        for _ in range(seconds // 4):
            recorder.record(subject(), WARNING, "NodeFailed", "boom")
            await asyncio.sleep(4)
        requests = recorder.counts["sent"]
        assert OBJECT_BURST <= requests <= OBJECT_BURST + seconds / 300 + 1
        assert len(await events(world)) == 1


async def test_recording_never_blocks_and_what_waits_is_bounded() -> None:
    async with recording() as (_, recorder):
        for number in range(MAX_WAITING):
            recorder.record(subject(number), NORMAL, "Accepted", "the execution has begun")
        for number in range(MAX_WAITING):
            recorder.record(subject(number), WARNING, "Waiting", "no room")
            recorder.record(subject(number), NORMAL, "Else", "dropped")
        assert len(recorder._waiting) == MAX_WAITING
        assert all(news.type == WARNING for news in recorder._waiting.values()), "warnings take the others' places"
        assert recorder.counts["dropped"] == 2 * MAX_WAITING


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("one\ntwo\tthree", "one\\ntwo\\tthree"),
        ("\x1b]0;title\x07 \u202egnp", "\\x1b]0;title\\x07 \\u202egnp"),
        ("s3 said password=hunter22 no", "s3 said password=*** no"),
    ],
)
async def test_messages_are_one_visible_line_without_credentials(message: str, shown: str) -> None:
    async with recording() as (world, recorder):
        recorder.record(subject(), WARNING, "Waiting", message)
        (event,) = await events(world)
        assert event["message"] == shown


async def test_a_long_message_and_a_long_name_are_cut_to_what_the_server_takes() -> None:
    async with recording() as (world, recorder):
        named = Subject("ns", ("w" * 199) + "-" + ("." * 0) + "x" * 53, "uid")
        recorder.record(named, WARNING, "Waiting", "m" * 100_000)
        (event,) = await events(world)
        assert len(event["message"]) <= MESSAGE_CHARACTERS
        assert event["involvedObject"]["name"] == named.name


class Refusing:
    """A client without the right to create events."""

    def __init__(self) -> None:
        self.requests = 0

    async def create(self, *_: Any, **__: Any) -> None:
        self.requests += 1
        raise Denied("create events ns/x: forbidden", status=403)


async def test_without_the_right_to_create_events_one_try_in_five_minutes_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client: Any = Refusing()
    async with bench() as world, Recorder(client, EventOptions(), world.clock) as recorder:
        for number in range(60):
            recorder.record(subject(number), WARNING, "Waiting", "no room")
            await asyncio.sleep(5)
        assert 1 <= client.requests <= 2
        assert recorder.counts["failed"] == client.requests
        assert "an event on ns/w0 is not sent" in caplog.text


async def test_a_server_that_is_away_ends_nothing() -> None:
    async with bench() as world:
        client = Client(world.server.transport(), clock=world.clock)
        async with Recorder(client, EventOptions(), world.clock) as recorder:
            world.server.stop()
            recorder.record(subject(0), WARNING, "Waiting", "no room")
            await asyncio.sleep(60)
            world.server.start()
            recorder.record(subject(1), WARNING, "Waiting", "no room")
            assert [event["involvedObject"]["name"] for event in await events(world)] == ["w1"]
            assert +recorder.counts == {"failed": 1, "sent": 1}


async def test_a_defect_of_one_event_keeps_no_other_from_being_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording() as (world, recorder):
        with monkeypatch.context() as patched:
            patched.setattr(world.user, "create", None)
            recorder.record(subject(), WARNING, "Waiting", "no room")
            await asyncio.sleep(15.0)
        recorder.record(subject(1), WARNING, "Waiting", "no room")
        assert [event["involvedObject"]["name"] for event in await events(world)] == ["w1"]
        assert recorder.counts["failed"] == 1
