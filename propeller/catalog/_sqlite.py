"""SQLite as the database of a catalog: a file that the processes of one machine share."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from propeller.catalog._sql import Dialect, statements
from propeller.errors import StorageError

_DIALECT = Dialect("((julianday('now') - 2440587.5) * 86400.0)", "TEXT", "BLOB")
_VERSION = "SELECT version FROM propeller_cache_schema"
_HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'propeller_cache_schema'"


class Sqlite:
    """One connection, used by one thread of its own. Another process that writes is waited for `deadline` seconds.

    Write-ahead logging lets readers read meanwhile; after a crash of the machine the last entries may be missing.
    """

    dialect = _DIALECT

    def __init__(self, path: Path, deadline: float) -> None:
        self._path = path
        self._deadline = deadline
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection | None = None

    async def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        named = {str(number): value for number, value in enumerate(parameters, 1)}
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, statement, named)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    # in the thread

    def _run(self, statement: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = self._open()
            return self._connection.execute(statement, parameters).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"the cache in {self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=self._deadline, isolation_level=None)
        try:
            self._log_ahead(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _log_ahead(self, connection: sqlite3.Connection) -> None:
        """Have writers not block readers. Unlike other statements, this one does not wait for others that begin."""
        ends = time.monotonic() + self._deadline
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                    raise
            time.sleep(0.01)  # of this thread alone

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if not self._missing(connection):
            return
        connection.execute("BEGIN IMMEDIATE")  # one process at a time
        try:
            for statement in self._missing(connection):
                connection.execute(statement)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _missing(self, connection: sqlite3.Connection) -> list[str]:
        has_tables = connection.execute(_HAS_TABLES).fetchone()
        found = connection.execute(_VERSION).fetchone()[0] if has_tables else 0
        return statements(found, self.dialect, str(self._path))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
