"""Follows the routing table in a file.

Guarantees
    On entering, the file's table is in force. A change is in force within two looks; one that is refused, or a file
    that can no longer be read, leaves the table as it is, and is said once.
    Files are read and checked in a thread.
Errors
    Entering raises InvalidTable for what is no table, Invalid for a file that cannot be read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from propeller.beside import beside
from propeller.errors import Invalid
from propeller.routing._parse import parse_table
from propeller.routing._table import Table
from propeller.routing._yaml import MAX_BYTES
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)

Signature = tuple[int, int, int, int]
"""Times of the last changes of content and of rights, size and inode: another one for what may be read otherwise, also
behind a ConfigMap's symbolic link.
"""


class FileTable:
    """`apply` is called with each table that is to be in force; `refused` with why another is not."""

    def __init__(
        self, path: str, interval: float, apply: Callable[[Table], None], refused: Callable[[Invalid], None]
    ) -> None:
        """`interval` in seconds."""
        self._path = Path(path)
        self._interval = interval
        self._apply = apply
        self._refused = refused
        self._read: Signature | None = None
        """Of the content that was read last."""
        self._is_wrong = False
        """Whether the content that was read last is no table."""
        self._said = ""
        """What was said last of a file that cannot be read, or is wrong."""
        self._causes = Causes(_log)

    def is_refused(self) -> bool:
        """Whether the file as it is now is not in force."""
        return self._is_wrong or bool(self._said)

    @asynccontextmanager
    async def following(self, deadline: float) -> AsyncIterator[None]:
        """Follow until the block is left. `deadline` is not used: a file is there, or it is not."""
        self._read, table = await asyncio.to_thread(self._load)
        self._apply(table)
        async with beside(self._follow(), f"follow {self._path}"):
            yield

    async def _follow(self) -> None:
        before = self._read
        while True:
            await asyncio.sleep(self._interval)
            try:
                found = await asyncio.to_thread(self._signature)
                if found == self._read:
                    self._said = ""
                elif found == before:
                    self._read, self._is_wrong = found, True
                    self._read, table = await asyncio.to_thread(self._load)
                    self._said, self._is_wrong = "", False
                    self._apply(table)
                    _log.info("the routing table of %s is in force as it is now", self._path)
                before = found
            except Invalid as error:
                self._say(error)
            except Exception as error:  # noqa: BLE001 - a defect, after which later versions are to be read all the same
                self._causes.report(error, "the routing table of %s cannot be followed: trying again", self._path)

    def _say(self, error: Invalid) -> None:
        """Once, as the file is looked at every second."""
        if str(error) != self._said:
            self._said = str(error)
            _log.warning("the routing table stays as it was: %s", error)
            self._refused(error)

    def _signature(self) -> Signature:
        try:
            found = self._path.stat()
        except OSError as error:
            raise Invalid(f"{self._path} cannot be read: {error.strerror}") from error
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _load(self) -> tuple[Signature, Table]:
        """The content with the signature of before, so that a change meanwhile is seen."""
        signature = self._signature()
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Invalid(f"{self._path} cannot be read: {error.strerror}") from error
        return signature, parse_table(content, str(self._path))
