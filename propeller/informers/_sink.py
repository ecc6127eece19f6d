"""What a reflector hands over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from propeller.kube import Event, Undecodable

T = TypeVar("T")


class Sink(Protocol[T]):
    """Who takes what the reflector brings."""

    def on_list_start(self) -> None:
        """A list comes; the one before may not have ended."""

    def on_list_page(self, objects: Iterable[T]) -> None:
        """Some of its objects."""

    def on_list_undecodable(self, found: Undecodable[T]) -> None:
        """One of them, which could not be decoded."""

    def on_list_end(self, version: str) -> None:
        """That was the whole list, as of `version`."""

    def on_event(self, event: Event[T]) -> None:
        """One event, a bookmark included; while a list comes, an end."""
