"""The backend that settings name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from propeller.catalog._backend import Backend, ObjectStore
from propeller.catalog._options import CatalogOptions
from propeller.catalog._sql import SqlStore
from propeller.errors import Invalid
from propeller.storage import Storage

DATABASES = ("sqlite", "postgresql")
"""Schemes of `catalog.backend`."""


def store_of(storage: Storage, options: CatalogOptions) -> Backend:
    """The database that the options name, else an object store: below the executions' own prefix if they name none.
    Nothing is opened before it is used. Raises Invalid if a package is missing.
    """
    if not options.backend:
        return ObjectStore(storage, options.prefix or f"{storage.settings.metadata_prefix.rstrip('/')}/catalog")
    parts = urlsplit(options.backend)
    if parts.scheme == "sqlite":
        from propeller.catalog._sqlite import Sqlite

        return SqlStore(Sqlite(Path(unquote(parts.path)), options.deadline), storage)
    if find_spec("asyncpg") is None:
        raise Invalid("catalog.backend is PostgreSQL, which needs the package asyncpg: pip install 'propeller[sql]'")
    from propeller.catalog._postgresql import PostgreSql

    return SqlStore(PostgreSql(options), storage)
