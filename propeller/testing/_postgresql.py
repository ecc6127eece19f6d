"""A real PostgreSQL server, with an empty database of its own.

It refuses to run as root. If the tests do, it runs as the user `nobody`, who keeps root's right to reach directories.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from propeller.errors import Unavailable
from propeller.testing._components import binary
from propeller.testing._processes import ServerProcess, free_ports

SETTINGS = (
    *("fsync=off", "full_page_writes=off", "synchronous_commit=off"),  # its data dies with the test
    *("max_connections=50", "shared_buffers=16MB", "max_wal_senders=0", "wal_level=minimal"),
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
)


class PostgresqlServer:
    """One server; see `run_postgresql_server`. `username` is its superuser, who has to give `password`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.username, self.password = "propeller", secrets.token_hex(8)
        (self.port,) = free_ports(1)
        self.url = f"postgresql://127.0.0.1:{self.port}/postgres"
        self._data = directory / "data"
        self._directory = directory
        settings = [word for setting in (*SETTINGS, f"port={self.port}") for word in ("-c", setting)]
        command = [*_as_user(), str(binary("postgres")), "-D", str(self._data), *settings]
        self._process = ServerProcess("postgres", command, directory / "postgresql.log")

    def start(self) -> None:
        """Start, in the main thread, and wait until it serves."""
        if not self._data.exists():
            self._initialize()
        self._process.start(self._answers, deadline=30)

    def stop(self) -> None:
        """End its process, and connections; its data stay."""
        self._process.stop(signal.SIGINT)  # "fast" in pg_ctl's words: SIGTERM waits for clients

    def pause(self) -> None:
        """Accept no new connection until `resume`. Open connections are served: each has a process of its own."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def _initialize(self) -> None:
        secret = self._directory / "password"
        secret.write_text(self.password)
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(self._data, user.pw_uid, user.pw_gid)
        made = subprocess.run(
            [
                *(*_as_user(), str(binary("initdb")), "-D", str(self._data)),
                *("-U", self.username, "-A", "scram-sha-256", f"--pwfile={secret}"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )
        if made.returncode != 0:
            raise Unavailable(f"initdb has failed: {made.stderr}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return (self._data / "postmaster.pid").exists() and "ready" in (self._data / "postmaster.pid").read_text()


def _as_user() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    user, rights = pwd.getpwnam("nobody"), "+dac_override"
    setpriv = shutil.which("setpriv") or "setpriv"
    who = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    # PostgreSQL asks access(2) for its own programs, which heeds the rights of a process only with that bit
    reaches = (f"--inh-caps={rights}", f"--ambient-caps={rights}", "--securebits=+no_setuid_fixup")
    return (setpriv, *who, *reaches, "--")


@contextmanager
def run_postgresql_server(directory: Path) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server, ready, ended with the block. Raises MissingComponent."""
    server = PostgresqlServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.resume()
        server.stop()
