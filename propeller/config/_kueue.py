"""Whose pods are admitted by Kueue."""

from __future__ import annotations

import re

import msgspec

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?")
"""A LocalQueue's name that fits into a label."""


class KueueQueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tasks whose pods wait in a LocalQueue of their namespace. A field that is empty matches all."""

    project: str = ""
    domain: str = ""

    queue: str
    """The LocalQueue's name; "" exempts the project or domain from the mappings before."""

    def __post_init__(self) -> None:
        if self.queue and not _NAME.fullmatch(self.queue):
            raise ValueError(
                f"queue {self.queue!r} is no name of a LocalQueue: write small letters, digits, '-' and '.', 63 at most"
            )


class KueueOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Admission by Kueue, beside it (docs/limits.md). Without queues, nothing is spent on it."""

    queues: tuple[KueueQueue, ...] = ()
    """Of those that match a task, the last. Its pods have the queue's label, whatever the task's own labels say."""

    def queue_of(self, project: str, domain: str) -> str:
        """The LocalQueue of a project's tasks; "" if Kueue does not admit them."""
        for one in reversed(self.queues):
            if one.project in ("", project) and one.domain in ("", domain):
                return one.queue
        return ""
