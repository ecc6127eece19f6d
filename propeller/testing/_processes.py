"""A server as a child process that never outlives the test run."""

from __future__ import annotations

import atexit
import ctypes
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from propeller.errors import Unavailable

_PR_SET_PDEATHSIG = 1
_LOG_LINES = 15

RESERVED_PORTS = 256
"""The latest that a process keeps; each takes a file descriptor."""

_reserved: deque[socket.socket] = deque()
_libc = ctypes.CDLL(None, use_errno=True)


class ServerProcess:
    """One command, its output in `log`. It can be started again after it was stopped.

    It has a process group of its own, so that Ctrl-C at the terminal reaches the test run alone, which ends servers in
    order; the kernel kills it if the test run dies.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process, which must have been started."""
        assert self._process is not None
        return self._process.pid

    def start(self, is_ready: Callable[[], bool], *, deadline: float) -> None:
        """Start, and wait until it is ready; raises Unavailable with the end of its log."""
        self.spawn()
        self.wait(is_ready, deadline=deadline)

    def spawn(self) -> None:
        """Start. To be called in the main thread: the kernel counts the end of a thread as the end of the parent."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with_parent,
            )

    def wait(self, is_ready: Callable[[], bool], *, deadline: float) -> None:
        """Wait until it is ready; in any thread."""
        end = time.monotonic() + deadline
        while not is_ready():
            if self._process is None or self._process.poll() is not None:
                raise Unavailable(f"{self.name} has ended: {self._tail()}")
            if time.monotonic() > end:
                self.stop()
                raise Unavailable(f"{self.name} was not ready within {deadline:g} s: {self._tail()}")
            time.sleep(0.02)

    def stop(self, signal_number: int = signal.SIGTERM, *, grace: float = 10.0) -> None:
        """End it; by force after `grace` seconds. No effect if it has ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


def free_ports(count: int) -> list[int]:
    """Different TCP ports on loopback, kept for the servers that will listen there: until this process ends, or has
    asked for `RESERVED_PORTS` more, nobody is given one by the kernel, be it for a server or for a connection. A server
    has to set SO_REUSEADDR, as nearly all do; until it listens, and while it is stopped, connections are refused.
    """
    reserved = [_reserve() for _ in range(count)]
    _reserved.extend(reserved)
    while len(_reserved) > RESERVED_PORTS:
        _reserved.popleft().close()
    return [int(holder.getsockname()[1]) for holder in reserved]


def _reserve() -> socket.socket:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.bind(("127.0.0.1", 0))
    # Set after the port is chosen: before, the kernel may choose one that another process has reserved likewise.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return holder


@atexit.register
def _release() -> None:
    while _reserved:
        _reserved.popleft().close()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
