"""A catalog in a SQL database: one table for entries and reservations.

Guarantees
    A schema is made at the first use, by one process at a time. A schema that a newer propeller has made is refused.
    A reservation is got, or its holder read, in one statement, and is judged by the database's clock.
    Each operation ends within the deadline; what the database fails at is a StorageError that names the database,
    never a password.
Caveats
    An operation whose answer is not awaited may still be made later, as in an object store. So may the write of the
    outputs of an entry that is gone: they are of the same task and inputs.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Protocol

import msgspec

from propeller.catalog._backend import Found, Reserved
from propeller.catalog._key import ENTRY
from propeller.catalog._remembered import Remembered, Version
from propeller.errors import StorageError
from propeller.storage import Storage

SCHEMA = 1
"""Version of the tables: an older one is brought to it by `MIGRATIONS`, a newer one is refused."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE propeller_cache_schema (version INTEGER NOT NULL)",
        "INSERT INTO propeller_cache_schema VALUES (0)",
        (
            "CREATE TABLE propeller_cache (path {text} PRIMARY KEY, owner TEXT, data {bytes} NOT NULL, "
            "version TEXT NOT NULL, written DOUBLE PRECISION NOT NULL DEFAULT ({now}))"
        ),
    ),
)
"""The statements that bring the tables from version 0 to 1, from 1 to 2, and so on."""

LAST = "\x7f"
"""After each character of a path: they are quoted as URLs are."""


class Dialect(msgspec.Struct, frozen=True):
    """What databases write differently."""

    now: str
    """The database's clock, in epoch seconds."""

    text: str
    """Type of text that is ordered by code points."""

    bytes: str


class Database(Protocol):
    """One database. All raise StorageError."""

    dialect: Dialect

    async def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement, with parameters `$1`, `$2`..., as a transaction of its own, and return its rows."""

    async def close(self) -> None:
        """End its connections."""


def statements(found: int, dialect: Dialect, place: str) -> list[str]:
    """The statements that bring tables of version `found` to `SCHEMA`. Raises StorageError if they are newer."""
    if found > SCHEMA:
        raise StorageError(
            f"the cache in {place} has tables of version {found}, of a newer propeller; this one knows version "
            f"{SCHEMA}: update it, or name another database (catalog.backend)"
        )
    words = {"now": dialect.now, "text": dialect.text, "bytes": dialect.bytes}
    made = [statement.format_map(words) for step in MIGRATIONS[found:] for statement in step]
    return [*made, f"UPDATE propeller_cache_schema SET version = {SCHEMA}"] if made else []


class SqlStore:
    """See the module's text. A hit is one statement, and one write to its target: at the same time if this process has
    had the entry before, else one after the other.
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._remembered = Remembered()
        now = database.dialect.now
        changed = f"SET data = excluded.data, version = excluded.version, written = {now}"
        self._put = f"{_INSERT} ON CONFLICT (path) DO UPDATE {changed}"
        self._replace = (
            f"UPDATE propeller_cache SET data = $2, version = $3, written = {now} "
            "WHERE path = $1 AND version = $4 RETURNING version"
        )
        self._reserve = _reserving(now)

    async def take(self, path: str, target: str) -> Found | None:
        name = f"{path}{ENTRY}"
        if (known := self._remembered.get(name)) is not None:
            return await self._take_known(name, known, target)
        found = await self.read(name)
        if found is None:
            return None
        data, version = found
        self._remembered.put(name, version, data)
        return Found(data, copied=False)

    async def _take_known(self, name: str, known: Version, target: str) -> Found | None:
        """Write the outputs while the database is asked whether they are still those of the entry."""
        rows, written = await asyncio.gather(
            self._database.rows(_IF_CHANGED, name, known.version),
            self._storage.write(target, known.data),
            return_exceptions=True,
        )
        if (isinstance(rows, BaseException) or not rows) and not isinstance(written, BaseException):
            await self._storage.delete(target)  # the entry may be gone because its outputs were wrong
        if isinstance(rows, BaseException):
            raise rows
        if not rows:
            self._remembered.discard(name)
            return None
        version, data = rows[0]
        if data is None:
            return Found(known.data, copied=not isinstance(written, BaseException))
        self._remembered.put(name, version, data)
        return Found(data, copied=False)

    async def put(self, path: str, data: bytes, *, overwrite: bool) -> None:
        name = f"{path}{ENTRY}"
        version: str | None = _new_version()
        if overwrite:
            await self._database.rows(self._put, name, data, version)
        else:
            version = await self.create(name, data)
        if version is not None:
            self._remembered.put(name, version, data)

    async def delete(self, path: str) -> None:
        self._remembered.discard(path)
        await self._database.rows("DELETE FROM propeller_cache WHERE path = $1", path)

    async def paths(self, below: str, most: int) -> list[str]:
        rows = await self._database.rows(_PATHS, below, below + LAST, most)
        return [path for (path,) in rows]

    async def read(self, path: str) -> tuple[bytes, str] | None:
        rows = await self._database.rows("SELECT data, version FROM propeller_cache WHERE path = $1", path)
        return (rows[0][0], rows[0][1]) if rows else None

    async def create(self, path: str, data: bytes) -> str | None:
        return _version_of(await self._database.rows(_CREATE, path, data, _new_version()))

    async def replace(self, path: str, data: bytes, version: str) -> str | None:
        return _version_of(await self._database.rows(self._replace, path, data, _new_version(), version))

    async def reserve(self, path: str, data: bytes, owner: str, ttl: float) -> Reserved:
        version = _new_version()
        ((there, of),) = await self._database.rows(self._reserve, path, data, version, owner, ttl)
        return Reserved(version if of == version else None, there)

    async def is_exclusive(self) -> bool:
        return True

    async def close(self) -> None:
        await self._database.close()


_INSERT = "INSERT INTO propeller_cache (path, data, version) VALUES ($1, $2, $3)"
_CREATE = f"{_INSERT} ON CONFLICT (path) DO NOTHING RETURNING version"
_IF_CHANGED = "SELECT version, CASE WHEN version = $2 THEN NULL ELSE data END FROM propeller_cache WHERE path = $1"
_PATHS = "SELECT path FROM propeller_cache WHERE path >= $1 AND path < $2 ORDER BY path LIMIT $3"


def _reserving(now: str) -> str:
    """The statement that reserves, or leaves the row as it is; it returns the row in any case."""
    old = "propeller_cache"
    is_free = f"({old}.owner IS NULL OR {old}.owner = excluded.owner OR {old}.written <= {now} - $5)"
    new_values = {"owner": "excluded.owner", "data": "excluded.data", "version": "excluded.version", "written": now}
    changes = (f"{of} = CASE WHEN {is_free} THEN {new} ELSE {old}.{of} END" for of, new in new_values.items())
    return (
        f"INSERT INTO {old} (path, data, version, owner) VALUES ($1, $2, $3, $4) ON CONFLICT (path) DO UPDATE "
        f"SET {', '.join(changes)} RETURNING data, version"
    )


def _new_version() -> str:
    """One that no row has had: a row that was removed and made again has another one."""
    return secrets.token_hex(12)


def _version_of(rows: list[tuple[Any, ...]]) -> str | None:
    return str(rows[0][0]) if rows else None
