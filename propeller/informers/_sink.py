"""The receiver of a reflector's lists and events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from propeller.kube import Event, Undecodable

T = TypeVar("T")


class Sink(Protocol[T]):
    """Called by the reflector, on the loop."""

    def on_list_start(self) -> None:
        """A list begins; the one before may be incomplete."""

    def on_list_page(self, objects: Iterable[T]) -> None:
        """Some objects of the list."""

    def on_list_undecodable(self, found: Undecodable[T]) -> None:
        """An object of the list that could not be decoded."""

    def on_list_end(self, version: str) -> None:
        """The list is complete, as of `version`."""

    def on_event(self, event: Event[T]) -> None:
        """One event or bookmark; during a list only a deletion."""
