"""A real server of the S3 protocol: rclone, over a directory.

A bucket is a directory at its top, and an object a file below, for tests to read; files that are added there by other
means may not show. It checks keys, but no permissions: any valid key may do everything.
"""

from __future__ import annotations

import functools
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from propeller.storage import StorageOptions
from propeller.testing._components import binary
from propeller.testing._processes import ServerProcess, free_ports


class S3Server:
    """One running S3 server; see `run_s3_server`. `url` is its endpoint."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "objects"
        self.access_key, self.secret_key = "AKIDTESTS", uuid.uuid4().hex
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory.mkdir(parents=True)
        self._process = ServerProcess(
            "rclone serve s3",
            [
                str(binary("rclone")),
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
        """Variables for AWS's and flytekit's clients."""
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
        """Options for `propeller.storage.Storage`; credentials come from the environment."""
        return StorageOptions(s3_endpoint=self.url)

    def bucket(self) -> str:
        """Create a bucket with a unique name."""
        name = f"tests-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    @functools.cached_property
    def client(self) -> Any:
        """botocore's client of it."""
        import botocore.config  # here: it comes with the extra s3
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )

    def start(self) -> None:
        """Start, in the main thread, and wait until it serves."""
        self._process.start(self._answers, deadline=15)

    def stop(self) -> None:
        """End its process; its objects stay in the directory."""
        self._process.stop()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def run_s3_server(directory: Path) -> Iterator[S3Server]:
    """An S3 server, ready, ended with the block. Raises MissingComponent."""
    server = S3Server(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
