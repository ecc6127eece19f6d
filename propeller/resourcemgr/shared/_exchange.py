"""The way to the store, as a process sees it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from propeller.resourcemgr.shared._messages import Answer, Statement


class Exchange(Protocol):
    """The way to the store."""

    is_doubtful: bool
    """Whether the store may be gone: it should be probed before a statement is sent, which would lower the slice."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    async def exchange(self, statement: Statement) -> Answer:
        """State, and get the answer. Raises PropellerError; whether the statement has arrived is unknown then."""

    async def probe(self) -> None:
        """Return if the store answers. Raises PropellerError."""

    def waking(self, wake: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `wake` when something was granted that was waited for, until the block is left."""
