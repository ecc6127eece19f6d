"""Those who are told what an informer learns.

Guarantees
    Each is told in order, at once; one that raises harms no other, and is logged.
Assumptions
    Subscribers are quick: they run on the loop, between an event and the next. One that is `async def` is refused.
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
    """Of one informer, whose kind is called `plural`."""

    def __init__(self, plural: str) -> None:
        self._plural = plural
        self.ended = False
        """Whether nothing will happen any more."""
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
            self.tell(subscriber, change)

    def publish_undecodable(self, found: Undecodable[T]) -> None:
        for subscriber in tuple(self.of_undecodable):
            self.tell(subscriber, found)

    def publish_restore(self) -> None:
        for subscriber in tuple(self.of_restores):
            subscriber()

    def tell(self, subscriber: Callable[[S], object], news: S) -> None:
        """Call one subscriber; what it raises is logged."""
        try:
            result = subscriber(news)
            if result is not None and inspect.iscoroutine(result):  # of a lambda: what it calls was not to be seen
                result.close()
                raise Invalid("it returned a coroutine, which nobody awaits: add a key to a queue, or read `changes()`")
        except Exception:
            key = news.key if isinstance(news, Change | Undecodable) else ""
            log.exception("a subscriber of %s raised on %s", self._plural, key)
