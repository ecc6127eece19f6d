"""Informers: the changes that readers see, their order, and their guarantees."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from propeller.clock import LoopClock
from propeller.errors import Unavailable
from propeller.informers import Change, Informer, Salvage, key_of
from propeller.kube import PODS, Client, Pod, Raw, Undecodable
from propeller.testing import now
from tests.unit.informers.fake_api import SETTINGS, STREAMING, FakeApi, informer_of, line_of

SOON = 5.0


def versions(informer: Informer[Raw]) -> dict[str, int]:
    return {key_of(obj): int(obj["metadata"]["resourceVersion"]) for obj in informer.store}


def kinds(changes: list[Change[Raw]]) -> list[str]:
    """`+a` came, `~a` changed, `-a` went."""
    return [f"{'+' if c.old is None else '-' if c.new is None else '~'}{c.key.removeprefix('ns/')}" for c in changes]


async def test_the_store_holds_the_list_and_follows(api: FakeApi) -> None:
    for name in "abcdefg":
        api.write(name)
    async with informer_of(api, page_size=3) as informer:
        assert not informer.has_synced()
        await informer.wait_for_sync(SOON)
        assert api.lists == (1 if api.streams else 3)
        assert versions(informer) == api.versions()
        api.write("a", data={"k": "v"})
        api.delete("b")
        api.write("h")
        await informer.wait_for_version(str(api.version), SOON)
        assert versions(informer) == api.versions()


async def test_a_list_that_does_not_come_is_unavailable_after_the_deadline(api: FakeApi) -> None:
    api.faults = [Unavailable("nobody")] * 1000
    async with informer_of(api) as informer:
        with pytest.raises(Unavailable, match="configmaps could not be listed within 60 s"):
            await informer.wait_for_sync(60)
        assert now() == 60


async def test_a_version_that_is_not_reached_is_unavailable_after_the_deadline(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        with pytest.raises(Unavailable, match="the cache of configmaps has not reached version 999 within 5 s"):
            await informer.wait_for_version("999", SOON)


async def test_all_waiters_for_a_version_are_woken(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        waiting = [
            asyncio.create_task(informer.wait_for_version(str(version), SOON)) for version in (101, 102, 102, 103)
        ]
        await asyncio.sleep(0.1)
        api.write("a")
        await asyncio.sleep(0.1)
        assert [task.done() for task in waiting] == [True, False, False, False]
        api.write("b")
        api.write("c")
        await asyncio.gather(*waiting)


async def test_versions_are_compared_as_numbers(api: FakeApi) -> None:
    api.version = 998
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        api.write("a")
        api.write("a")
        assert api.version == 1000
        await informer.wait_for_version("999", SOON)
        await informer.wait_for_version("1000", SOON)


async def test_a_bookmark_moves_the_version_and_nothing_else(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        api.version = 500
        api.bookmark()
        await informer.wait_for_version("500", SOON)
        assert changes == []


async def test_a_subscriber_gets_every_change_in_order_beginning_with_the_stored_objects(api: FakeApi) -> None:
    api.write("a")
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        api.write("b")
        api.write("a")
        api.delete("b")
        await informer.wait_for_version(str(api.version), SOON)
        assert kinds(changes) == ["+a", "+b", "~a", "-b"]


async def test_a_deletion_brings_the_last_state(api: FakeApi) -> None:
    api.write("a", data={"k": "1"})
    async with informer_of(api) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        api.objects["a"]["data"] = {"k": "last"}  # as where the last change and the deletion are one
        api.delete("a")
        await informer.wait_for_version(str(api.version), SOON)
        assert changes[-1].old is not None
        assert changes[-1].old["data"] == {"k": "last"}


async def test_a_subscriber_that_raises_harms_no_other_and_is_logged(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(change: Change[Raw]) -> None:
        raise ZeroDivisionError

    async with informer_of(api) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(raises)
        informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        with caplog.at_level(logging.ERROR):
            api.write("a")
            await informer.wait_for_version(str(api.version), SOON)
        assert kinds(changes) == ["+a"]
        assert "a subscriber of configmaps raised on ns/a" in caplog.text
        assert versions(informer) == api.versions()


async def test_a_subscription_ends_when_it_is_stopped_and_stopping_twice_does_no_harm(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        changes: list[Change[Raw]] = []
        stop = informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        stop()
        stop()
        api.write("a")
        await informer.wait_for_version(str(api.version), SOON)
        assert changes == []


async def test_a_slow_reader_of_changes_sees_the_latest_of_each_object(api: FakeApi) -> None:
    api.write("a", data={"n": "0"})
    async with informer_of(api) as informer, aclosing(informer.changes()) as changes:
        await informer.wait_for_sync(SOON)
        first = await anext(changes)
        for number in range(1, 6):
            api.write("a", data={"n": str(number)})
            api.write("b", data={"n": str(number)})
        api.write("gone")
        api.delete("gone")
        await informer.wait_for_version(str(api.version), SOON)
        seen = [await anext(changes), await anext(changes)]
        assert kinds([first, *seen]) == ["+a", "~a", "+b"]
        assert [change.new["data"]["n"] for change in seen if change.new is not None] == ["5", "5"]
        assert seen[0].old is first.new
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 1)


async def test_an_object_that_changes_all_the_time_still_has_its_turn(api: FakeApi) -> None:
    """Regression: each change put it behind all others again."""
    async with informer_of(api) as informer, aclosing(informer.changes()) as changes:
        await informer.wait_for_sync(SOON)
        seen: set[str] = set()
        for number in range(20):
            api.write("hot")
            api.write(f"other-{number}")
            api.write(f"more-{number}")
            await informer.wait_for_version(str(api.version), SOON)
            seen.add((await anext(changes)).key)
        assert "ns/hot" in seen


async def test_a_reader_of_changes_that_leaves_is_unsubscribed(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        async with aclosing(informer.changes()) as changes:
            await informer.wait_for_sync(SOON)
            api.write("a")
            await anext(changes)
        assert informer._subscribers.of_changes == []


async def test_a_transform_is_applied_to_everything_that_comes(api: FakeApi) -> None:
    def small(obj: Raw) -> Raw:
        return {"metadata": obj["metadata"], "small": True}

    api.write("a", data={"k": "v"})
    async with informer_of(api, transform=small) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        api.write("b", data={"k": "v"})
        api.delete("a")
        await informer.wait_for_version(str(api.version), SOON)
        assert all("data" not in obj for obj in informer.store)
        assert all(obj is None or obj["small"] for change in changes for obj in (change.old, change.new))


async def test_an_object_that_the_transform_raises_on_keeps_its_last_good_state_until_it_is_mended(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: it ended the reflector silently."""

    def strict(obj: Raw) -> Raw:
        if obj.get("data", {}).get("bad"):
            raise ValueError("bad data")
        return obj

    api.write("a", data={"bad": "yes"})
    api.write("b")
    async with informer_of(api, transform=strict) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        with caplog.at_level(logging.ERROR):
            await informer.wait_for_sync(SOON)
            assert kinds(changes) == ["+b"]
            api.write("b", data={"bad": "yes"})
            api.write("a")
            api.write("c")
            await informer.wait_for_version(str(api.version), SOON)
        assert kinds(changes) == ["+b", "+a", "+c"]
        assert informer.store.get("ns/b") is changes[0].new
        assert list(informer.undecodable) == ["ns/b"]
        assert "transforming ns/a failed: ValueError: bad data" in caplog.text


def pods_of(api: FakeApi, salvage: Salvage[Pod] | None = None) -> Informer[Pod]:
    settings = STREAMING if api.streams else SETTINGS
    return Informer(Client(api, clock=LoopClock()), PODS, namespace="ns", settings=settings, salvage=salvage)


async def test_an_object_that_cannot_be_decoded_keeps_its_last_good_state_until_it_is_mended(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: it was published as deleted, and a controller would have destroyed what it owns."""
    api.write("good")
    api.write("bad", spec="text")
    async with pods_of(api) as pods:
        changes: list[Change[Pod]] = []
        undecodable: list[Undecodable[Pod]] = []
        pods.subscribe(changes.append)
        with caplog.at_level(logging.INFO):
            await pods.wait_for_sync(SOON)
            pods.subscribe_undecodable(undecodable.append)
            api.write("good", spec={"nodeName": 5})
            api.write("good", spec={"nodeName": 5}, status={})
            api.write("bad")
            await pods.wait_for_version(str(api.version), SOON)
        assert [change.key for change in changes] == ["ns/good", "ns/bad"]
        assert not [change for change in changes if change.new is None]
        assert [(found.key, found.error) for found in undecodable] == [
            ("ns/bad", "spec: expected an object, found text"),
            ("ns/good", "spec.nodeName: expected text, found a number"),
            ("ns/good", "spec.nodeName: expected text, found a number"),
        ]
        assert list(pods.undecodable) == ["ns/good"]
        assert pods.failures == 0
        logged = [record.message for record in caplog.records if "cannot be decoded" in record.message]
        assert len(logged) == 2
        assert "its last good state stays in use" in logged[1]
        assert "ns/bad can be decoded again" in caplog.text


async def test_an_undecodable_object_that_is_deleted_is_gone_from_the_store(api: FakeApi) -> None:
    api.write("a")
    api.write("b")
    async with pods_of(api) as pods:
        await pods.wait_for_sync(SOON)
        api.write("a", spec="text")
        api.write("b", spec="text")
        await pods.wait_for_version(str(api.version), SOON)
        assert sorted(pods.undecodable) == ["ns/a", "ns/b"]
        api.delete("a")
        await pods.wait_for_version(str(api.version), SOON)
        api.cut()
        api.delete("b")
        api.write("c")
        api.forget()
        await pods.wait_for_version(str(api.version), SOON)
        assert pods.store.keys() == ["ns/c"]
        assert not pods.undecodable


async def test_an_undecodable_recreated_object_does_not_keep_the_state_of_its_predecessor(
    api: FakeApi,
) -> None:
    api.write("a")
    async with pods_of(api) as pods:
        await pods.wait_for_sync(SOON)
        api.cut()
        api.delete("a")
        api.write("a", spec="text")
        api.write("b")
        api.forget()
        await pods.wait_for_version(str(api.version), SOON)
        assert pods.store.keys() == ["ns/b"]
        assert list(pods.undecodable) == ["ns/a"]


async def test_the_result_of_salvage_replaces_an_undecodable_object_in_the_store(api: FakeApi) -> None:
    def salvage(found: Undecodable[Pod], last: Pod | None) -> Pod | None:
        return found.rest if last is None else None

    api.write("new", spec="text", status={"phase": "Running"})
    async with pods_of(api, salvage) as pods:
        await pods.wait_for_sync(SOON)
        found = pods.store.get("ns/new")
        assert found is not None
        assert found.status.phase == "Running"
        assert list(pods.undecodable) == ["ns/new"]


async def test_leaving_ends_the_watch_and_its_task(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        await asyncio.sleep(1)
        assert api.open_watches == 1
    assert api.open_watches == 0
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("reflect")] == []


async def test_an_error_in_the_block_passes_through(api: FakeApi) -> None:
    with pytest.raises(ZeroDivisionError):
        async with informer_of(api):
            raise ZeroDivisionError


async def test_a_duplicate_event_is_published_once(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        changes: list[Change[Raw]] = []
        informer.subscribe(changes.append)
        await informer.wait_for_sync(SOON)
        obj = api.write("a")
        api.send_line(line_of("MODIFIED", obj))
        api.write("b")
        await informer.wait_for_version(str(api.version), SOON)
        assert kinds(changes) == ["+a", "+b"]


async def test_an_event_that_is_older_than_the_store_is_not_taken(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        old = api.write("a")
        api.write("a")
        api.send_line(line_of("MODIFIED", old))
        api.send_line(line_of("DELETED", old))
        api.write("b")
        await informer.wait_for_version(str(api.version), SOON)
        assert versions(informer) == api.versions()
        assert informer.version == str(api.version)
