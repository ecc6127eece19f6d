"""Servers as pytest fixtures: `pytest_plugins = ["propeller.testing.plugin"]` in the topmost conftest.

    embedded_api_server   an API server in the test's process, new for each test
    kube_apiserver        a real kube-apiserver with an etcd of its own, one for the whole session
    api_server            a fresh namespace on each of both, one after the other: for tests that both have to pass
    postgres              a real PostgreSQL server, one for the whole session
    rclone                a real S3 server, one for the whole session
    redis                 a real Redis server without data, new for each test
    s3                    the same as rclone, with the environment of the test's process leading to it

A test whose server is not on this machine is skipped, with the command that gets it; with CI=true it fails instead.
Needs the extra `testing` (pytest and pytest-asyncio).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from propeller.testing import (
    HttpServerUnderTest,
    KubeApiserver,
    MissingComponent,
    PostgresqlServer,
    RedisServer,
    S3Server,
    ServerUnderTest,
    embedded_http_server,
    embedded_server,
    real_server,
    run_kube_apiserver,
    run_postgresql_server,
    run_redis_server,
    run_s3_server,
)


@contextmanager
def skipping() -> Iterator[None]:
    """Skip the test if a component is missing that the block starts; fail it in CI."""
    try:
        yield
    except MissingComponent as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest_asyncio.fixture
async def embedded_api_server() -> AsyncIterator[ServerUnderTest]:
    """In this process and in memory, with a fresh namespace and a client."""
    async with embedded_server() as server:
        yield server


@pytest.fixture(scope="session")
def kube_apiserver_flags() -> Sequence[str]:
    """Further flags of kube-apiserver, such as feature gates; for a conftest to override."""
    return ()


@pytest.fixture(scope="session")
def kube_apiserver(
    tmp_path_factory: pytest.TempPathFactory, kube_apiserver_flags: Sequence[str]
) -> Iterator[KubeApiserver]:
    """A real API server for the whole session. Tests share it: each makes a namespace of its own."""
    with skipping(), run_kube_apiserver(tmp_path_factory.mktemp("kube-apiserver"), kube_apiserver_flags) as server:
        yield server


@pytest_asyncio.fixture(params=["embedded", "kube-apiserver"])
async def api_server(request: pytest.FixtureRequest) -> AsyncIterator[HttpServerUnderTest]:
    """A fresh namespace, reached over HTTP, on the embedded server and on a real one."""
    real = request.param == "kube-apiserver"
    async with real_server(request.getfixturevalue("kube_apiserver")) if real else embedded_http_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server for the whole session. Tests share it: each makes a database of its own."""
    with skipping(), run_postgresql_server(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session. Tests share it: each makes a bucket of its own."""
    with skipping(), run_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment leading to it."""
    for name, value in rclone.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return rclone


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of the test's own, which it may crash."""
    with skipping(), run_redis_server(tmp_path / "redis") as server:
        yield server
