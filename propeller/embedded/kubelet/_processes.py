"""The kubelet's handles of processes: started by a forking server (`_zygote.py`), ended with an `Exit`.

Guarantees
    The kubelet's own process never forks for a container, so neither its size nor its threads affect the started
    process. Signals go through the server, which knows which of its children are not reaped yet: a recycled pid is
    never hit. When a server dies, its processes die with it, and each `wait` returns an exit by SIGKILL.
Errors
    `CannotStart` if a program or server cannot be started; nothing else is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from propeller.errors import PropellerError

_PATIENCE = 5.0  # seconds that a server may take to accept a request before it is given up
_SCRIPT = Path(__file__).with_name("_zygote.py")


class CannotStart(PropellerError):
    """The program or the server did not start; the message says why in the operating system's words."""


class Entry(msgspec.Struct, frozen=True):
    """A Python program that can run in a fork: `kind` is "file" or "module", `target` the path or the module's name.

    `path0` is what the interpreter would put first on sys.path, `argv` the program's own sys.argv.
    """

    kind: str
    target: str
    path0: str
    argv: tuple[str, ...]
    is_task: bool = False
    """Whether it is flytekit's entry point, which finds the project's modules first."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program to start: `executable` is an absolute path, `argv` includes the name, `cwd` exists.

    `project` is the directory of its modules; with `populate`, `cwd` is filled from there first. A task may run in a
    process that runs up to `reuse` small tasks, one after another.
    """

    executable: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    entry: Entry | None = None
    project: str = ""
    populate: bool = False
    reuse: int = 1


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. `code` is 0-255, 128 + `signal` if a signal ended it; `error` if it never became the
    program.
    """

    code: int
    signal: int = 0
    cpu_seconds: float = 0.0
    max_rss: int = 0
    error: str = ""


_KILLED = Exit(code=128 + signal.SIGKILL, signal=signal.SIGKILL)


class Process:
    """A started process, leader of its own session and process group."""

    def __init__(self, server: Server, ident: int) -> None:
        loop = asyncio.get_running_loop()
        self._server = server
        self._ident = ident
        self._exit: asyncio.Future[Exit] = loop.create_future()
        self._error = ""
        self.pid = 0

    @property
    def running(self) -> bool:
        return not self._exit.done()

    async def wait(self) -> Exit:
        """Its end, as soon as the server has reaped it."""
        return await asyncio.shield(self._exit)

    def kill(self, signum: int) -> None:
        """Send a signal to its whole group; does nothing once it has ended."""
        if self.running:
            self._server.kill(self._ident, signum)

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message of the server about this process."""
        if "pid" in message:
            self.pid = message["pid"]
        elif "error" in message:
            self._error = message["error"]
        elif self.running:
            code = os.waitstatus_to_exitcode(message["status"])
            self._exit.set_result(
                Exit(
                    code=128 - code if code < 0 else code,
                    signal=-code if code < 0 else 0,
                    cpu_seconds=message["cpu"],
                    max_rss=message["rss"],
                    error=self._error,
                )
            )

    def lose(self) -> None:
        """Handle the end of the server and, with it, of the process; kill what the process had started."""
        if self.running:
            if self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._exit.set_result(_KILLED)


class Server:
    """The kubelet's end of one forking server. `files` are the sources that it has loaded: path, mtime in ns, size."""

    def __init__(self, popen: subprocess.Popen[bytes] | None, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        link.setblocking(False)
        self._popen = popen
        self._link = link
        self._loop = loop
        self._ids = itertools.count()
        self._processes: dict[int, Process] = {}
        self._ready: asyncio.Future[None] = loop.create_future()
        self.files: tuple[tuple[str, int, int], ...] = ()
        self.alive = True
        loop.add_reader(link.fileno(), self._read)

    @classmethod
    def launch(cls, python: str, modules: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Server:
        """Start a server in a new interpreter that imports `modules` first. Await `ready` before using it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as output:
            try:
                popen = subprocess.Popen(
                    [python, str(_SCRIPT), str(theirs.fileno()), *modules],
                    env=dict(env),
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise CannotStart(f"{python}: {error.strerror}") from error
        return cls(popen, ours)

    def warm(self, module: str, command: Command) -> Server:
        """Fork a server that has imported `module` as `command` would. Await its `ready` before using it."""
        assert command.entry is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._send({"op": "warm", "id": -1, "module": module, **msgspec.to_builtins(command)}, theirs.fileno())
        return Server(None, ours)

    async def ready(self) -> None:
        """Wait until it serves; raise `CannotStart` with the reason if it cannot."""
        await asyncio.shield(self._ready)

    @property
    def busy(self) -> bool:
        """Whether a process that it started still runs, or a caller still waits for it to be ready."""
        return bool(self._processes) or not self._ready.done()

    def current(self) -> bool:
        """Whether it can be used: alive, or refused for good, and the files that it imported are as they were."""
        if not self._ready.done():
            return True
        return (self.alive or bool(self.files)) and all(map(_unchanged, self.files))

    @property
    def lost(self) -> bool:
        """Whether it has ended after it was ready once: another one would serve."""
        return not self.alive and self._ready.done() and self._ready.exception() is None

    def release(self) -> None:
        """End a forked server; its parent reaps it."""
        assert self._popen is None
        self._lose("released")

    def run(self, command: Command, log: int) -> Process:
        """Start a program; standard output and error go to the descriptor `log`. Raises `CannotStart` if the server is
        gone.
        """
        process = Process(self, next(self._ids))
        self._send({"op": "run", "id": process._ident, **msgspec.to_builtins(command)}, log)  # noqa: SLF001 - one module
        self._processes[process._ident] = process  # noqa: SLF001 - one module
        return process

    def kill(self, ident: int, signum: int) -> None:
        """Signal the group of one process; if the server has ended, the process has too."""
        with contextlib.suppress(CannotStart):
            self._send({"op": "kill", "id": ident, "signal": signum})

    async def close(self) -> None:
        """End the server, which kills its processes. Returns when its original interpreter is reaped."""
        if self._popen is not None and not self._ready.done():
            self._popen.kill()  # it still imports, and has started nothing
        self._lose("closed")
        if self._popen is not None:
            await asyncio.to_thread(self._popen.wait)

    def _send(self, message: Mapping[str, Any], *fds: int) -> None:
        if not self.alive:
            raise CannotStart("its forking server has ended")
        with os.fdopen(os.memfd_create("request"), "w+b") as body:
            body.write(json.dumps(message).encode())
            body.flush()
            # Requests are a byte and descriptors, the server takes a millisecond for each, and 200 fit the socket's
            # buffer: blocking here is shorter than arranging not to.
            self._link.settimeout(_PATIENCE)
            try:
                socket.send_fds(self._link, [b"\0"], [body.fileno(), *fds])
            except OSError as error:
                self._lose(error.strerror or "cut")
                raise CannotStart("its forking server has ended") from error
            finally:
                if self.alive:
                    self._link.setblocking(False)

    def _read(self) -> None:
        try:
            packet = self._link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lose("it ended")
            return
        message = json.loads(packet)
        if "ready" in message:
            self._hear_ready(message)
            return
        process = self._processes.get(message["id"])
        if process is not None:
            process.hear(message)
            if not process.running:
                del self._processes[message["id"]]

    def _hear_ready(self, message: Mapping[str, Any]) -> None:
        self.files = tuple((path, mtime, size) for path, mtime, size in message["files"])
        if message["ready"]:
            self._ready.set_result(None)
        else:
            self._lose(message["why"])

    def _lose(self, why: str) -> None:
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._link.fileno())
        self._link.close()
        if not self._ready.done():
            self._ready.set_exception(CannotStart(why))
            self._ready.exception()  # read here, so that an unawaited server is not reported as a lost error
        for process in self._processes.values():
            process.lose()
        self._processes.clear()


def _unchanged(file: tuple[str, int, int]) -> bool:
    path, mtime, size = file
    try:
        stat = Path(path).stat()
    except OSError:
        return False
    return (stat.st_mtime_ns, stat.st_size) == (mtime, size)
