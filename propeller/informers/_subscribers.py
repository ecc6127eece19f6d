"""Subscribers of an informer.

Guarantees
    Each is called in order, at once; its exceptions are logged, and harm no other.
Assumptions
    Subscribers are quick: they run on the loop, between an event and the next. A coroutine function is refused.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from propeller.errors import Invalid
from propeller.informers._callbacks import refuse_coroutines
from propeller.informers._store import Change
from propeller.kube import Undecodable

T = TypeVar("T")
S = TypeVar("S")

log = logging.getLogger(__name__)

Subscriber = Callable[[Change[T]], None]


class Subscribers(Generic[T]):
    """Lists of subscribers; `plural` names the kind in messages."""

    def __init__(self, plural: str) -> None:
        self._plural = plural
        self.ended = False
        """Whether the informer has ended."""
        self.of_changes: list[Subscriber[T]] = []
        self.of_undecodable: list[Callable[[Undecodable[T]], None]] = []
        self.of_restores: list[Callable[[], None]] = []

    def join(self, subscribers: list[S], subscriber: S) -> Callable[[], None]:
        """Add to one of the lists; returns how to stop. Raises Invalid after the end, and for a coroutine function."""
        if self.ended:
            raise Invalid(f"the informer of {self._plural} has ended: nobody will be told of anything")
        refuse_coroutines(subscriber, f"a subscriber of {self._plural}")
        subscribers.append(subscriber)

        def stop() -> None:
            if subscriber in subscribers:
                subscribers.remove(subscriber)

        return stop

    def publish(self, change: Change[T]) -> None:
        for subscriber in tuple(self.of_changes):
            self.call(subscriber, change)

    def publish_undecodable(self, found: Undecodable[T]) -> None:
        for subscriber in tuple(self.of_undecodable):
            self.call(subscriber, found)

    def publish_restore(self) -> None:
        for subscriber in tuple(self.of_restores):
            subscriber()

    def call(self, subscriber: Callable[[S], object], news: S) -> None:
        """Call one subscriber; log its exception."""
        try:
            result = subscriber(news)
            if result is not None and inspect.iscoroutine(result):  # of a lambda, which could not be checked before
                result.close()
                raise Invalid("it returned a coroutine, which nobody awaits: add a key to a queue, or read `changes()`")
        except Exception:
            key = news.key if isinstance(news, Change | Undecodable) else ""
            log.exception("a subscriber of %s raised on %s", self._plural, key)
