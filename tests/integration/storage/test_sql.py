"""The catalog in SQLite and in PostgreSQL: what only databases promise, and their outages."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from flyteidl.core import tasks_pb2
from google.protobuf import json_format

from propeller.catalog import Catalog, CatalogOptions, Found, Key, Origin, Reserving, SqlStore, store_of
from propeller.clock import SYSTEM_CLOCK
from propeller.errors import Invalid, PropellerError, StorageError
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import CatalogMetrics
from propeller.testing import Authority, PostgresqlServer, run_postgresql_server
from propeller.testing.plugin import skipping
from propeller.workflow import CacheStatus
from tests.integration.storage.databases import database, execute
from tests.integration.storage.tls_front import Front
from tests.unit.controller.cached import outputs, template

PATH = "p/d/t/c/i"
RESERVATION = f"{PATH}.reservation"
KEY = Key("p", "d", "t", "1", {}, {"x": "digest"})

Open = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgres"))])
async def options(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogOptions:
    if request.param == "sqlite":
        return CatalogOptions(backend=f"sqlite://{tmp_path}/made/cache.db")
    return await database(request.getfixturevalue("postgres"), monkeypatch)


@pytest.fixture
async def process(options: CatalogOptions) -> AsyncIterator[Open]:
    """Opens the store as another process does."""
    async with contextlib.AsyncExitStack() as stack, Storage(StorageOptions()) as storage:

        def opened() -> SqlStore:
            store = store_of(storage, options)
            assert isinstance(store, SqlStore)
            stack.push_async_callback(store.close)
            return store

        yield opened


async def test_processes_that_begin_at_once_make_the_tables_once(process: Open) -> None:
    stores = [process() for _ in range(6)]
    await asyncio.gather(*(store.put(f"{PATH}{n}", b"data", overwrite=False) for n, store in enumerate(stores)))
    assert len(await stores[0].paths("p/", 100)) == 6


async def test_tables_of_a_newer_propeller_are_refused_and_left_alone(process: Open, options: CatalogOptions) -> None:
    await process().put(PATH, b"data", overwrite=False)
    await execute(options, "UPDATE propeller_cache_schema SET version = 99")
    with pytest.raises(StorageError, match=r"tables of version 99.*this one knows version 1: update it"):
        await process().read(PATH)
    await execute(options, "UPDATE propeller_cache_schema SET version = 1")
    assert await process().read(f"{PATH}.pb") is not None


async def test_of_those_who_reserve_at_once_one_has_it_and_each_sees_who(process: Open) -> None:
    owners = [f"owner-{number}" for number in range(8)]
    answers = await asyncio.gather(*(process().reserve(RESERVATION, owner.encode(), owner, 60.0) for owner in owners))
    (winner,) = [answer.data for answer in answers if answer.version is not None]
    assert {answer.data for answer in answers} == {winner}


async def test_the_databases_clock_says_when_a_reservation_is_void(process: Open, options: CatalogOptions) -> None:
    one, other = process(), process()
    first = await one.reserve(RESERVATION, b"one", "one", 60.0)
    assert first.version is not None
    assert (await other.reserve(RESERVATION, b"other", "other", 60.0)).version is None
    await execute(options, "UPDATE propeller_cache SET written = written - 61")
    renewed = await one.replace(RESERVATION, b"one", first.version)  # late, and before another has taken it over
    assert renewed is not None
    assert (await other.reserve(RESERVATION, b"other", "other", 60.0)).version is None
    await execute(options, "UPDATE propeller_cache SET written = written - 61")
    assert (await other.reserve(RESERVATION, b"other", "other", 60.0)).version is not None
    assert await one.replace(RESERVATION, b"one", renewed) is None


async def test_an_owner_reserves_again_what_it_has(process: Open) -> None:
    """It has restarted, or the answer was lost."""
    versions = [(await process().reserve(RESERVATION, b"one", "one", 60.0)).version for _ in range(2)]
    assert None not in versions
    assert await process().read(RESERVATION) == (b"one", versions[1])


async def test_a_row_that_was_made_again_is_not_the_one_before(process: Open) -> None:
    store = process()
    before = await store.create(PATH, b"1")
    await store.delete(PATH)
    await store.create(PATH, b"1")
    assert before is not None
    assert await store.replace(PATH, b"2", before) is None


async def test_a_prefix_means_itself_alone_whatever_signs_it_has(process: Open) -> None:
    store = process()
    for path in ("a_c/1", "abc/1", "a%25/1", "A_c/1", "a_c~/1"):
        await store.put(path, b"", overwrite=False)
    assert await store.paths("a_c/", 10) == ["a_c/1.pb"]
    assert await store.paths("a%25", 10) == ["a%25/1.pb"]
    assert await store.paths("", 10) == ["A_c/1.pb", "a%25/1.pb", "a_c/1.pb", "a_c~/1.pb", "abc/1.pb"]


async def test_an_entry_of_a_megabyte_with_every_byte_comes_back(process: Open) -> None:
    data = bytes(range(256)) * 4096
    await process().put(PATH, data, overwrite=True)
    found = await process().take(PATH, "memory://m/target")
    assert found is not None
    assert found.data == data


class Meeting:
    """A database and a store that answer only once both are asked."""

    def __init__(self, options: CatalogOptions, storage: Storage) -> None:
        self.storage = storage
        self.statements = 0
        self._asked, self._written = asyncio.Event(), asyncio.Event()
        self._store = store_of(storage, options)
        assert isinstance(self._store, SqlStore)
        self._rows, self._write = self._store._database.rows, storage.write

    async def hit(self, target: str) -> Found | None:
        async def rows(statement: str, *parameters: object) -> list[tuple[object, ...]]:
            self.statements += 1
            self._asked.set()
            await self._written.wait()
            return await self._rows(statement, *parameters)

        async def write(uri: str, data: bytes) -> None:
            self._written.set()
            await self._asked.wait()
            await self._write(uri, data)

        assert isinstance(self._store, SqlStore)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._store._database, "rows", rows)
            patch.setattr(self.storage, "write", write)
            async with asyncio.timeout(60.0):
                return await self._store.take(PATH, target)

    async def put(self, data: bytes) -> None:
        await self._store.put(PATH, data, overwrite=True)

    async def close(self) -> None:
        await self._store.close()


TARGET = "memory://m/e/outputs.pb"


async def test_a_hit_on_what_this_process_has_put_asks_and_writes_at_the_same_time(options: CatalogOptions) -> None:
    async with Storage(StorageOptions()) as storage:
        used = Meeting(options, storage)
        await used.put(b"data")
        assert await used.hit(TARGET) == Found(b"data", copied=True)
        assert used.statements == 1
        assert await storage.read(TARGET, fresh=True) == b"data"
        await used.close()


async def test_what_another_process_has_evicted_or_overwritten_is_no_hit_though_it_was_here_before(
    options: CatalogOptions, process: Open
) -> None:
    async with Storage(StorageOptions()) as storage:
        store, other = store_of(storage, options), process()
        await store.put(PATH, b"1", overwrite=False)
        await other.put(PATH, b"2", overwrite=True)
        assert await store.take(PATH, TARGET) == Found(b"2", copied=False)
        assert await store.take(PATH, TARGET) == Found(b"2", copied=True)
        await other.delete(f"{PATH}.pb")
        assert await store.take(PATH, TARGET) is None
        assert await storage.find(TARGET) is None
        await store.close()


async def test_outputs_of_a_hit_stay_when_its_entry_is_evicted(options: CatalogOptions) -> None:
    async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
        used = catalog(options, storage)
        assert await use(used) == (CacheStatus.POPULATED, CacheStatus.HIT)
        await used._backend.delete(f"{KEY.path}.pb")
        assert await storage.read(TARGET, fresh=True)
        await used.close()


async def test_it_reserves_in_one_step(process: Open) -> None:
    assert isinstance(process(), Reserving)


def catalog(options: CatalogOptions, storage: Storage) -> Catalog:
    return Catalog(store_of(storage, options), storage, options, SYSTEM_CLOCK, CatalogMetrics())


def task() -> tasks_pb2.TaskTemplate:
    return json_format.ParseDict(template(), tasks_pb2.TaskTemplate())


async def use(of: Catalog) -> tuple[CacheStatus, CacheStatus]:
    put = await of.put(KEY, outputs(9), Origin(KEY, "ns/a", "uid", "n0", 0, "v1", 1.0), overwrite=False)
    return put, (await of.look_up(KEY, task(), "memory://m/e/outputs.pb")).status


async def test_a_hit_has_its_outputs_at_the_target(options: CatalogOptions) -> None:
    async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
        used = catalog(options, storage)
        assert await use(used) == (CacheStatus.POPULATED, CacheStatus.HIT)
        assert await storage.find("memory://m/e/outputs.pb") is not None
        await used.close()


@pytest.mark.needs("postgres")
async def test_a_server_that_is_down_is_as_good_as_no_cache_and_is_used_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with run_postgresql_server(tmp_path / "own") as server:
        options = await database(server, monkeypatch)
        async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
            used = catalog(options, storage)
            assert await use(used) == (CacheStatus.POPULATED, CacheStatus.HIT)
            server.stop()
            assert await use(used) == (CacheStatus.PUT_FAILURE, CacheStatus.LOOKUP_FAILURE)
            assert await storage.find(TARGET) is None, "outputs of an entry that may be gone"
            assert "outputs cannot be cached" in caplog.text
            assert server.password not in caplog.text
            server.start()
            assert await use(used) == (CacheStatus.POPULATED, CacheStatus.HIT)
            await used.close()


@pytest.mark.needs("postgres")
async def test_a_table_that_is_locked_is_waited_for_until_the_deadline(
    postgres: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = msgspec.structs.replace(await database(postgres, monkeypatch), deadline=0.5)
    async with Storage(StorageOptions()) as storage:
        store = store_of(storage, options)
        await store.put(PATH, b"data", overwrite=False)
        async with locked(options, postgres):
            with pytest.raises(StorageError):
                await store.read(f"{PATH}.pb")
        assert await store.read(f"{PATH}.pb") is not None
        await store.close()


@contextlib.asynccontextmanager
async def locked(options: CatalogOptions, server: PostgresqlServer) -> AsyncIterator[None]:
    import asyncpg

    name = options.backend.rpartition("/")[2]
    connection = await asyncpg.connect(
        host="127.0.0.1", port=server.port, user=server.username, password=server.password, database=name
    )
    async with connection.transaction():
        await connection.execute("LOCK TABLE propeller_cache IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    with skipping():
        return Authority(tmp_path_factory.mktemp("authority"))


async def refused(options: CatalogOptions) -> str:
    async with Storage(StorageOptions()) as storage:
        store = store_of(storage, options)
        with pytest.raises(StorageError) as raised:
            await store.read(PATH)
        await store.close()
    return str(raised.value)


@pytest.mark.needs("postgres")
async def test_a_server_is_known_by_its_name_and_an_authority(
    postgres: PostgresqlServer, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strangers = Authority(make(tmp_path / "strangers"), "strangers").pair.certificate
    plain = await database(postgres, monkeypatch)
    async with Front(postgres.port, authority.server("first")).running() as front:
        for host in ("127.0.0.1", "localhost"):
            backend = plain.backend.replace(f"127.0.0.1:{postgres.port}", f"{host}:{front.port}")
            options = msgspec.structs.replace(
                plain, backend=backend, sslmode="verify-full", ca_file=str(authority.pair.certificate)
            )
            async with Storage(StorageOptions()) as storage:
                store = store_of(storage, options)
                assert await store.read(PATH) is None
                await store.close()
        assert front.secured == 2
        said = await refused(msgspec.structs.replace(options, ca_file=str(strangers)))
        assert "is not trusted: its certificate is not accepted: " in said
        assert f"it is verified by {strangers} (catalog.ca_file)" in said
        by_system = await refused(msgspec.structs.replace(options, ca_file=""))
        assert "it is verified by the system's authorities (catalog.ca_file)" in by_system
        gone = await refused(msgspec.structs.replace(options, ca_file="/nowhere/ca.crt"))
        assert "catalog.ca_file '/nowhere/ca.crt' cannot be read: No such file or directory" in gone
        assert all(postgres.password not in text and "_ssl.c" not in text for text in (said, by_system, gone))


@pytest.mark.needs("postgres")
async def test_a_server_of_another_name_is_refused_though_its_authority_is_right(
    postgres: PostgresqlServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = await database(postgres, monkeypatch)
    async with Front(postgres.port, authority.server("second", ["DNS:db.elsewhere"])).running() as front:
        for host, why in (("127.0.0.1", "IP address mismatch"), ("localhost", "Hostname mismatch")):
            backend = plain.backend.replace(f"127.0.0.1:{postgres.port}", f"{host}:{front.port}")
            options = msgspec.structs.replace(
                plain, backend=backend, sslmode="verify-full", ca_file=str(authority.pair.certificate)
            )
            said = await refused(options)
            assert "is not trusted: its certificate is of another name: " in said
            assert why.lower() in said.lower()
            assert postgres.password not in said


@pytest.mark.needs("postgres")
async def test_a_server_without_tls_is_refused_where_tls_is_required(
    postgres: PostgresqlServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = await database(postgres, monkeypatch)
    for options in (
        msgspec.structs.replace(plain, sslmode="require"),
        msgspec.structs.replace(plain, sslmode="verify-full", ca_file=str(authority.pair.certificate)),
    ):
        said = await refused(options)
        assert "SSL" in said
        assert postgres.password not in said


def test_an_authority_that_would_not_be_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="ca_file counts with sslmode verify-full alone"):
        CatalogOptions(backend="postgresql://host/db", ca_file="/ca.crt")


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("by_file", [False, True])
async def test_a_wrong_password_is_said_without_it(
    by_file: bool, postgres: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = await database(postgres, monkeypatch)
    wrong = uuid.uuid4().hex
    monkeypatch.setenv("PROPELLER_CATALOG_PASSWORD", wrong)
    if by_file:
        (tmp_path / "password").write_text(f"{wrong}\n")
        options = msgspec.structs.replace(options, password_file=str(tmp_path / "password"))
    async with Storage(StorageOptions()) as storage:
        store = store_of(storage, options)
        with pytest.raises(StorageError, match=r"refuses the user.*PROPELLER_CATALOG_PASSWORD") as raised:
            await store.read(PATH)
        assert wrong not in str(raised.value)
        if by_file:  # a changed secret is used without a restart
            (tmp_path / "password").write_text(postgres.password)
            assert await store.read(PATH) is None
        await store.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_text("text " * 1000)
    async with Storage(StorageOptions()) as storage:
        store = store_of(storage, CatalogOptions(backend=f"sqlite://{tmp_path}/cache.db"))
        with pytest.raises(StorageError, match=r"cache\.db: file is not a database"):
            await store.read(PATH)
        await store.close()


async def test_a_file_that_another_process_writes_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    options = CatalogOptions(backend=f"sqlite://{tmp_path}/cache.db", deadline=0.3)
    async with Storage(StorageOptions()) as storage:
        store = store_of(storage, options)
        await store.put(PATH, b"data", overwrite=False)
        other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="database is locked"):
            await store.create("other", b"")
        assert await store.read(f"{PATH}.pb") is not None  # readers do not wait
        other.execute("COMMIT")
        other.close()
        assert await store.create("other", b"")
        await store.close()


WRONG = {
    "mysql://host/db": "write sqlite:///absolute/path, or postgresql://host:port/database",
    "sqlite://relative.db": "write sqlite:///absolute/path",
    "postgresql:///db": "write sqlite:///absolute/path, or postgresql://",
    "postgresql://host": "postgresql://host:port/database",
    "postgresql://host:port/db": "postgresql://host:port/database",
    "postgresql://me:hunter2@host/db": "write the user to username",
    "postgresql://host/db?password=hunter2": "has a user, a query or a fragment",
}


@pytest.mark.parametrize("uri", WRONG)
def test_a_backend_that_is_none_is_refused_without_its_password(uri: str) -> None:
    with pytest.raises(ValueError, match=WRONG[uri]) as raised:
        CatalogOptions(backend=uri)
    assert "hunter2" not in str(raised.value)


async def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propeller.catalog._opening.find_spec", lambda name: None)
    async with Storage(StorageOptions()) as storage:
        with pytest.raises(Invalid, match=r"pip install 'propeller\[sql\]'") as raised:
            store_of(storage, CatalogOptions(backend="postgresql://host/db"))
    assert isinstance(raised.value, PropellerError)
