"""A real server of the S3 protocol: rclone, over a directory.

A bucket is a directory at its top, and an object a file below, for tests to look at; what is put there behind its back
it may not see. It checks keys, and no permissions: who has a key may do everything.
"""

from __future__ import annotations

import functools
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
import pytest

from propeller.storage import StorageOptions
from tests import assets
from tests.servers._processes import ServerProcess, free_ports


class S3Server:
    """`url` is its endpoint; `environment` are the variables with which AWS's and flytekit's clients reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "objects"
        self.access_key, self.secret_key = "AKIDTESTS", uuid.uuid4().hex
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory.mkdir(parents=True)
        self._process = ServerProcess(
            "rclone serve s3",
            [
                str(assets.binary("rclone")),
                "serve",
                "s3",
                str(self.directory),
                f"--addr=127.0.0.1:{self.port}",
                f"--auth-key={self.access_key},{self.secret_key}",
                f"--config={os.devnull}",
                f"--cache-dir={directory / 'cache'}",
                "--vfs-cache-mode=off",
                "--poll-interval=0",
                "--no-modtime",
                "--log-level=NOTICE",
            ],
            directory / "rclone.log",
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "FLYTE_AWS_ENDPOINT": self.url,
            "FLYTE_AWS_ACCESS_KEY_ID": self.access_key,
            "FLYTE_AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def settings(self) -> StorageOptions:
        return StorageOptions(s3_endpoint=self.url)

    def bucket(self) -> str:
        """A new bucket of a name that nobody else has."""
        name = f"tests-{uuid.uuid4().hex[:12]}"
        self._client.create_bucket(Bucket=name)
        return name

    @functools.cached_property
    def _client(self) -> Any:
        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )

    def start(self) -> None:
        self._process.start(self._answers, deadline=15)

    def stop(self) -> None:
        self._process.stop()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session. Tests share it: each makes a bucket of its own."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment leading to it."""
    for name, value in rclone.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return rclone
