"""Defects planted one at a time: a soak that finds none of them proves nothing."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from propeller.informers import Change, Informer, Store
from propeller.informers._cache import Cache
from propeller.kube import Client, Event, Resource

Mutation = Callable[[], AbstractContextManager[Any]]

_ONE_IN = 200


def _a_change_of_200_is_lost() -> AbstractContextManager[Any]:
    put, count = Store.upsert, itertools.count(1)

    def forgetful(self: Store[Any], new: Any) -> Change[Any] | None:
        return None if next(count) % _ONE_IN == 0 else put(self, new)

    return mock.patch.object(Store, "upsert", forgetful)


def _a_list_empties_the_store_first() -> AbstractContextManager[Any]:
    begins = Cache.on_list_start

    def emptying(self: Cache[Any]) -> None:
        for change in self.store.finish_replace(set()):
            self._subscribers.publish(change)
        begins(self)

    return mock.patch.object(Cache, "on_list_start", emptying)


def _a_resumed_watch_begins_with_what_is_there_now() -> AbstractContextManager[Any]:
    watch = Client.watch

    def anew(
        self: Client, resource: Resource[Any], namespace: str | None = None, **options: Any
    ) -> AsyncGenerator[Event[Any], None]:
        return watch(self, resource, namespace, **options | {"resource_version": ""})

    return mock.patch.object(Client, "watch", anew)


def _what_a_list_has_no_more_stays() -> AbstractContextManager[Any]:
    return mock.patch.object(Store, "finish_replace", return_value=())


def _a_fence_holds_nobody() -> AbstractContextManager[Any]:
    async def at_once(self: Informer[Any], resource_version: str, deadline: float) -> None:
        """Whatever was asked for."""

    return mock.patch.object(Informer, "wait_for_version", at_once)


MUTATIONS: dict[str, Mutation] = {
    "a change of 200 is lost": _a_change_of_200_is_lost,
    "a fence holds nobody": _a_fence_holds_nobody,
    "a list empties the store first": _a_list_empties_the_store_first,
    "a resumed watch begins with what is there now": _a_resumed_watch_begins_with_what_is_there_now,
    "what a list has no more stays": _what_a_list_has_no_more_stays,
}
