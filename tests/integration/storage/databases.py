"""Databases for catalogs of tests."""

from __future__ import annotations

import sqlite3
import uuid

import pytest

from propeller.catalog import CatalogOptions
from propeller.testing import PostgresqlServer


async def database(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> CatalogOptions:
    """A new database, with the environment that leads to it."""
    name = f"cache_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("PROPELLER_CATALOG_PASSWORD", server.password)
    backend = f"postgresql://127.0.0.1:{server.port}/{name}"
    options = CatalogOptions(backend=backend, username=server.username, connections=2)
    await _execute_at(server.port, server.username, server.password, "postgres", f"CREATE DATABASE {name}")
    _PASSWORDS[backend] = server.password
    return options


async def execute(options: CatalogOptions, statement: str) -> None:
    """Run a statement beside the catalog."""
    place = options.backend
    if place.startswith("sqlite://"):
        connection = sqlite3.connect(place.removeprefix("sqlite://"), isolation_level=None)
        connection.execute(statement)
        connection.close()
        return
    address, _, name = place.removeprefix("postgresql://").partition("/")
    await _execute_at(int(address.partition(":")[2]), options.username, _PASSWORDS[place], name, statement)


_PASSWORDS: dict[str, str] = {}


async def _execute_at(port: int, username: str, password: str, name: str, statement: str) -> None:
    import asyncpg  # here: it comes with the extra sql

    connection = await asyncpg.connect(host="127.0.0.1", port=port, user=username, password=password, database=name)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
