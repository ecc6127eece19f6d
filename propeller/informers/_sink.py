"""What a reflector hands over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from propeller.kube import Event, Undecodable

T = TypeVar("T")


class Sink(Protocol[T]):
    """Who takes what the reflector brings."""

    def list_begins(self) -> None:
        """A list comes; the one before may not have ended."""

    def listed(self, objects: Iterable[T]) -> None:
        """Some of its objects."""

    def listed_undecodable(self, found: Undecodable[T]) -> None:
        """One of them, which could not be decoded."""

    def list_ended(self, version: str) -> None:
        """That was the whole list, as of `version`."""

    def happened(self, event: Event[T]) -> None:
        """One event, a bookmark included; while a list comes, an end."""
