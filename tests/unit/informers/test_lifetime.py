"""The beginning and the end of an informer, as its readers see them."""

from __future__ import annotations

import asyncio
import functools
import logging
import warnings
from typing import Any

import pytest

from propeller.errors import Invalid, Unavailable
from propeller.informers import Change, Informer
from propeller.kube import CONFIG_MAPS, Client, Raw
from propeller.testing import now
from tests.unit.informers.fake_api import FakeApi, informer_of

SOON = 5.0


async def test_changes_end_with_their_informer_once_all_was_read(api: FakeApi) -> None:
    read: list[str] = []

    async def reader(informer: Informer[Raw], pause: float) -> None:
        async for change in informer.changes():
            await asyncio.sleep(pause)
            read.append(change.key)

    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group, informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
        api.write("a")
        api.write("b")
        await informer.wait_for_version(str(api.version), SOON)
        group.create_task(reader(informer, 0.0))
        group.create_task(reader(informer, 0.5))
        await asyncio.sleep(0.1)
    assert sorted(read) == ["ns/a", "ns/a", "ns/b", "ns/b"]


async def test_waits_end_with_an_error_as_soon_as_the_informer_ends(api: FakeApi) -> None:
    api.faults = [Unavailable("nobody")] * 1000
    async with informer_of(api) as informer:
        waiting = [
            asyncio.create_task(informer.wait_for_sync(600)),
            asyncio.create_task(informer.wait_for_version("999", 600)),
        ]
        await asyncio.sleep(1)
    for task in waiting:
        with pytest.raises(Unavailable, match="the informer of configmaps has ended"):
            await task
    assert now() < 10


async def test_an_informer_is_entered_once(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        with pytest.raises(Invalid, match="runs already: it is entered once"):
            await informer.__aenter__()
        await informer.wait_for_sync(SOON)
        assert api.open_watches <= 1
    with pytest.raises(Invalid, match="has ended: it is entered once; make another one"):
        await informer.__aenter__()
    await asyncio.sleep(1)
    assert api.open_watches == 0


async def test_subscribing_to_an_ended_informer_is_refused(api: FakeApi) -> None:
    async with informer_of(api) as informer:
        await informer.wait_for_sync(SOON)
    for subscribe in (informer.subscribe, informer.subscribe_undecodable):
        with pytest.raises(Invalid, match="has ended: nobody will be told"):
            subscribe(print)
    with pytest.raises(Invalid, match="has ended"):
        informer.subscribe_restores(lambda: None)
    with pytest.raises(Invalid, match="has ended"):
        await anext(informer.changes())


class _Awaited:
    async def __call__(self, change: Any) -> None:
        raise AssertionError(change)

    async def method(self, more: str, change: Any) -> None:
        raise AssertionError(change)


async def _function(*_: Any) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "subscriber",
    [_function, _Awaited(), functools.partial(_Awaited().method, "more")],
    ids=["function", "object", "partial"],
)
async def test_a_subscriber_that_would_have_to_be_awaited_is_refused(api: FakeApi, subscriber: Any) -> None:
    informer = informer_of(api)
    for subscribe in (informer.subscribe, informer.subscribe_undecodable, informer.subscribe_restores):
        with pytest.raises(Invalid, match="cannot be `async def`"):
            subscribe(subscriber)
    client = Client(api)
    with pytest.raises(Invalid, match="transform of an informer of configmaps"):
        Informer(client, CONFIG_MAPS, transform=subscriber)
    with pytest.raises(Invalid, match="owner of an informer of configmaps"):
        Informer(client, CONFIG_MAPS, indexes={"owner": subscriber})


async def test_a_lambda_that_makes_a_coroutine_is_reported(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(change: Change[Raw]) -> None:
        raise AssertionError(change)

    with warnings.catch_warnings(), caplog.at_level(logging.ERROR):
        warnings.simplefilter("error")
        async with informer_of(api) as informer:
            informer.subscribe(lambda change: handle(change))  # type: ignore[arg-type]
            api.write("a")
            await informer.wait_for_sync(SOON)
    assert "it returned a coroutine, which nobody awaits" in caplog.text
