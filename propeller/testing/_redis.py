"""A real Redis server, with an empty directory of its own."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from propeller.testing._components import binary
from propeller.testing._processes import ServerProcess, free_ports


class RedisServer:
    """One Redis server; see `run_redis_server`. `flags` are further ones of its command; it keeps no data on disk
    unless they say so.
    """

    def __init__(self, directory: Path, flags: Sequence[str] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"
        own = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(directory),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = ServerProcess(
            "redis-server", [str(binary("redis-server")), *own, *flags], directory / "redis.log"
        )

    def start(self) -> None:
        """Start, in the main thread, and wait until it serves."""
        self._process.start(self._answers, deadline=15)

    def stop(self, *, crash: bool = False) -> None:
        """End its process, by kill -9 if it is to `crash`."""
        self._process.stop(signal.SIGKILL if crash else signal.SIGTERM)

    def pause(self) -> None:
        """Have it answer nothing, and keep its connections open, until `resume`."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What it answers to a command, as text."""
        import redis  # here: it comes with the extra redis

        with redis.Redis(port=self.port, decode_responses=True) as client:
            return str(client.execute_command(*words))

    def follow(self, primary: RedisServer | None) -> None:
        """Be a replica of another server; None: of none any more, as after a failover."""
        self.command("REPLICAOF", *(("NO", "ONE") if primary is None else ("127.0.0.1", str(primary.port))))

    @property
    def is_in_step(self) -> bool:
        """Whether it is a replica that has got its primary's data."""
        return "'master_link_status': 'up'" in self.command("INFO", "replication")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def run_redis_server(directory: Path, flags: Sequence[str] = ()) -> Iterator[RedisServer]:
    """A Redis server, ready, ended with the block. Raises MissingComponent."""
    server = RedisServer(directory, flags)
    server.start()
    try:
        yield server
    finally:
        server.resume()
        server.stop()
