"""PostgreSQL as the database of a catalog, by asyncpg (the extra `sql`)."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from propeller.catalog._options import PASSWORD, CatalogOptions
from propeller.catalog._sql import Dialect, statements
from propeller.errors import StorageError
from propeller.redaction import shown_url

_DIALECT = Dialect("extract(epoch FROM clock_timestamp())::float8", 'TEXT COLLATE "C"', "BYTEA")
_VERSION = "SELECT version FROM propeller_cache_schema"
_HAS_TABLES = "SELECT to_regclass('propeller_cache_schema') IS NOT NULL"
_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_LOCK = 0x70726F70656C6C65
"""Of the advisory lock under which tables are made."""


class PostgreSql:
    """A pool of at most `catalog.connections`, opened as they are needed. The server ends what takes longer than
    `catalog.deadline`, also if this process is gone.
    """

    dialect = _DIALECT

    def __init__(self, options: CatalogOptions) -> None:
        self._options = options
        self._place = shown_url(options.backend)
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._translated():
            async with asyncio.timeout(self._options.deadline):
                pool = self._pool or await self._open()
                return [tuple(row) for row in await pool.fetch(statement, *parameters)]

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await _close(pool, self._options.deadline)

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                pool = await self._connect()
                try:
                    await self._prepare(pool)
                except BaseException:
                    pool.terminate()
                    raise
                self._pool = pool
        return self._pool

    async def _connect(self) -> Any:
        import asyncpg

        options, parts = self._options, urlsplit(self._options.backend)
        return await asyncpg.create_pool(
            host=parts.hostname,
            port=parts.port or 5432,
            database=unquote(parts.path.strip("/")),
            user=options.username or None,
            password=_password(options),
            ssl=_tls(options),
            min_size=0,
            max_size=options.connections,
            timeout=options.deadline,
            command_timeout=options.deadline,
            server_settings={
                "application_name": "propeller",
                "statement_timeout": str(int(options.deadline * 1000)),
                "idle_in_transaction_session_timeout": str(int(options.deadline * 1000)),
            },
        )

    async def _prepare(self, pool: Any) -> None:
        async with pool.acquire() as connection:
            if not await self._missing(connection):
                return
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)  # one process at a time
            try:
                async with connection.transaction():  # begun after the lock is had, it sees what others have made
                    for statement in await self._missing(connection):
                        await connection.execute(statement)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)

    async def _missing(self, connection: Any) -> list[str]:
        has_tables = await connection.fetchval(_HAS_TABLES)
        found = await connection.fetchval(_VERSION) if has_tables else 0
        return statements(found, self.dialect, self._place)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the library as errors of ours."""
        import asyncpg

        try:
            yield
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise StorageError(
                f"{self._place} refuses the user: {error}. "
                f"Its password is read from catalog.password_file or {PASSWORD}"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise StorageError(f"{self._place} is not trusted: {_refusal(error, self._options)}") from error
        except ssl.SSLError as error:
            raise StorageError(f"{self._place}: TLS fails: {error.reason or type(error).__name__}") from error
        except TimeoutError as error:
            raise StorageError(
                f"{self._place} does not answer within {self._options.deadline:g} s (catalog.deadline)"
            ) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StorageError(f"the cache in {self._place}: {error}") from error


async def _close(pool: Any, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _password(options: CatalogOptions) -> str | Callable[[], str] | None:
    """A file is read at each connect, so that a changed secret is used without a restart."""
    if not options.password_file:
        return os.environ.get(PASSWORD) or None
    return lambda: _read(options.password_file)


def _read(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"catalog.password_file {file!r} cannot be read: {error}") from error


def _tls(options: CatalogOptions) -> str | ssl.SSLContext:
    if options.sslmode != "verify-full":
        return options.sslmode
    try:
        return ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        why = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise StorageError(f"catalog.ca_file {options.ca_file!r} cannot be read: {why}") from error


def _refusal(error: ssl.SSLCertVerificationError, options: CatalogOptions) -> str:
    """Say why a certificate is refused, and what to mend; without the place in OpenSSL's source."""
    authority = options.ca_file or "the system's authorities"
    if error.verify_code in _OTHER_NAME:
        return f"its certificate is of another name: {error.verify_message} (catalog.sslmode verify-full)"
    return f"its certificate is not accepted: {error.verify_message}; it is verified by {authority} (catalog.ca_file)"
