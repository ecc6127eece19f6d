"""Run small programs one after another in one process, as long as each leaves nothing that the next would notice.

Part of the forking server (`_zygote.py`), which imports it by its bare name: it uses nothing of propeller, and runs on
Python 3.9.

A fork copies each page of the interpreter that the program touches: some 2,500, which costs several times what a task
of a few milliseconds does. So a process that has run such a task waits for the next one instead of ending, if
`_traces.py` finds nothing that the task has left. Each program still has its own directory, environment, arguments and
log.

Messages between server and worker, on a separate socket: the server passes on a request's descriptors; the worker
answers {"cpu", "rss"} (seconds of this program, bytes) once it can take another, and else exits with the program's
code.
"""

# pathlib would be one more import in every program.
# ruff: noqa: PTH123

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import selectors
import socket
import sys
import time
import weakref
from typing import Any

_BESIDE = f"{__package__}." if __package__ else ""  # this file is run by path
_overlay: Any = importlib.import_module(f"{_BESIDE}_overlay")
_workdir: Any = importlib.import_module(f"{_BESIDE}_workdir")
_program: Any = importlib.import_module(f"{_BESIDE}_program")
_traces: Any = importlib.import_module(f"{_BESIDE}_traces")

Message = dict[str, Any]

SMALL_SECONDS = 1.0
"""Of CPU. A program that takes more gains nothing worth having."""

SMALL_BYTES = 16 * 1024 * 1024
"""By which a process may have grown and still take another program, whose memory limit counts all of it."""

IDLE_SECONDS = 5.0
"""Seconds after which an unused worker is ended."""

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def read(descriptor: int) -> Message:
    """A request's body, from the descriptor that came with it."""
    request: Message = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    return request


class Workers:
    """The server's end: those that wait for a program, and the links to all."""

    def __init__(self) -> None:
        self._links: dict[int, socket.socket] = {}  # by pid
        self._reported: dict[int, float] = {}  # by pid: seconds of CPU of the programs that have ended
        self._idle: list[tuple[int, float]] = []  # pid, since when; the last one was in use last

    def link(self, pid: int) -> socket.socket | None:
        return self._links.get(pid)

    def add(self, pid: int, link: socket.socket) -> None:
        self._links[pid] = link

    def take(self, fds: list[int]) -> int:
        """Give a request to an idle worker; returns its pid, 0 if there is none."""
        while self._idle:
            pid, _ = self._idle.pop()
            try:
                socket.send_fds(self._links[pid], [b"\0"], fds)
            except OSError:  # it has been killed, and is to be reaped
                continue
            return pid
        return 0

    def hear(self, pid: int) -> Message | None:
        """Read the message of a worker that has ended a program; None if the worker itself ends."""
        try:
            packet = self._links[pid].recv(4096, socket.MSG_DONTWAIT)
        except OSError:  # it ended without a word, and something that it started still has its socket
            return None
        if not packet:
            return None
        message: Message = json.loads(packet)
        self._reported[pid] = self._reported.get(pid, 0.0) + message["cpu"]
        self._idle.append((pid, time.monotonic()))
        return message

    def forget(self, pid: int, selector: selectors.BaseSelector) -> float:
        """It has been reaped; returns the seconds of CPU that it had reported."""
        link = self._links.pop(pid, None)
        if link is not None:
            if link in selector.get_map():
                selector.unregister(link)
            link.close()
        self._idle = [one for one in self._idle if one[0] != pid]
        return self._reported.pop(pid, 0.0)

    def close(self) -> None:
        """In a fork: the links belong to the server."""
        for link in self._links.values():
            link.close()

    def overdue(self) -> list[int]:
        """Those that have been idle for too long: they get no program any more, and are to be ended."""
        before = time.monotonic() - IDLE_SECONDS
        late = [pid for pid, since in self._idle if since < before]
        self._idle = [one for one in self._idle if one[0] not in late]
        return late

    @property
    def any_idle(self) -> bool:
        return bool(self._idle)


def objects_of_the_project(program: str) -> Any:
    """Return the record of objects reachable from the modules that the server has loaded for its programs, which are of
    the module `program`; None if they cannot be checked.
    """
    try:
        return _traces.Objects(program)
    except _traces.Opaque:
        return None


def run_programs(link: socket.socket | None, request: Message, objects: Any, links: list[str]) -> int:
    """Run the program that the process was forked for, then those that arrive on `link`. `objects` is the server's
    record of the project's modules. Returns the exit code of the last program, with which the process has to exit.
    """
    if links:
        _overlay.write_to_copies(links)
    if link is None:
        code = int(_program.run(request["entry"]))
        return code if _program.finish() else int(_program.UNFLUSHED)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # background processes of a program become children of this one
    path = list(sys.path)
    weakref.finalize(objects, len, path).detach()  # the first one registers an exit handler, which is no program's
    traces = _traces.Traces(objects)
    size, spent = _size(), _spent()
    for number in range(1, request["reuse"] + 1):
        code = int(_program.run(request["entry"]))
        small = _spent() - spent < SMALL_SECONDS and _size() - size < SMALL_BYTES
        if code or not small or number == request["reuse"] or traces.left() or not _program.flush():
            break
        os.chdir("/")
        _write_to(os.open(os.devnull, os.O_WRONLY))
        now = _spent()
        link.send(json.dumps({"cpu": now - spent, "rss": _most()}).encode())
        spent = now
        packet, fds, _, _ = socket.recv_fds(link, 16, 2)
        if not packet:
            os._exit(0)
        request = read(fds[0])
        os.close(fds[0])
        _write_to(fds[1])
        sys.path[:] = path
        links = _workdir.populate(request["project"], request["cwd"]) if request["populate"] else []
        _program.enter(request)
        _overlay.write_to_copies(links)
    return code if _program.finish() else int(_program.UNFLUSHED)


def _write_to(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _size() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _spent() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
