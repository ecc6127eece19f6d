"""The forking server: starts processes on request, cold (exec) or warm (libraries already imported).

The kubelet runs this file with the user's interpreter, by path; it uses nothing of propeller and needs Python 3.9 and
Linux. One server is one loop over one socket. `run` forks a process; `warm` forks another server, which first imports a
module and then serves on a socket of its own. So servers form a tree, from root to leaf: bare interpreter, flytekit
imported, user's module imported.

Messages are JSON, one a packet (SOCK_SEQPACKET); a request's body is in a memory file, so that no environment is too
large.
    in   {"op": "run", "id", "argv", "executable", "env", "cwd", "entry", "project", "populate", "reuse"}
             with descriptors body, log
         {"op": "warm", "id", "module", "env", "cwd", "entry", "project"} with descriptors body, socket
         {"op": "kill", "id", "signal"}                                   with descriptor body
    out  {"ready": true, "files": [[path, mtime_ns, size], ...]} once, first;
             or {"ready": false, "why", "files"}, with files if retrying is useless until they change
         {"id", "pid"}; {"id", "error"} if exec failed; {"id", "status", "cpu", "rss"} at the end: wait status,
             seconds, bytes

Guarantees
    A process has its own session, and its group is killed when its leader ends, when the server ends or when the
    kubelet is gone: the closed socket ends the server, and PR_SET_PDEATHSIG the processes, should the server itself be
    killed. A forked Python program sees its argv, environment, working directory, sys.path, __main__, random seeds and
    exit codes as if it had been started by exec. Nothing is forked while a thread lives that a fork would lose.
    A task may run in a process that has run another task of its module, if that has left nothing in it (`_worker.py`).
Caveats
    Module-level code of preloaded modules ran before the fork, in the server's environment. Objects alive at the end
    are not finalized (atexit handlers and thread joins do run). Modules that shadow a preloaded one are detected: then
    exec is used.
"""

# pathlib would be one more import in every program; ending a process as the interpreter does takes names that atexit
# and threading keep to themselves, as multiprocessing's forks do.
# ruff: noqa: PTH100, PTH110, PTH112, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208, SLF001

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
import types
from typing import Any, NoReturn

Message = dict[str, Any]

_BESIDE = f"{__package__}." if __package__ else ""  # this file is run by path
_workdir: Any = importlib.import_module(f"{_BESIDE}_workdir")
_program: Any = importlib.import_module(f"{_BESIDE}_program")
_threads: Any = importlib.import_module(f"{_BESIDE}_threads")
_worker: Any = importlib.import_module(f"{_BESIDE}_worker")

_PR_SET_PDEATHSIG = 1
_IDLE = -1
"""The id of a worker that waits for a request."""

_OOM_SCORE = b"500"  # under memory pressure the kernel takes a task before it takes the user's desktop or the kubelet
_libc = ctypes.CDLL(None, use_errno=True)


class Server:
    """Forks on request until its socket closes. `path` is sys.path without the entries that belong to one program."""

    def __init__(self, link: socket.socket, path: list[str], *, imported: bool) -> None:
        self.link = link
        self.path = path
        self.imported = imported  # the program's own sys.path is set and its module loaded
        self.children: dict[int, int | None] = {}  # pid -> request id, None for servers
        self.workers = _worker.Workers()
        self.selector: selectors.BaseSelector  # of `serve`
        self.objects: Any = None  # record of the program's modules, if it can be made

    def serve(self, files: list[Any]) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        gc.collect()
        gc.freeze()  # keeps the collector from touching, and so copying, the pages shared with the forks
        self.say({"ready": True, "files": files})
        with selectors.DefaultSelector() as selector:
            selector.register(self.link, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            self.selector = selector
            while True:
                for key, _ in selector.select(_worker.IDLE_SECONDS if self.workers.any_idle else None):
                    if key.fileobj is self.link:
                        try:
                            packet, fds, _, _ = socket.recv_fds(self.link, 16, 4)
                        except ConnectionResetError:  # the kubelet was killed before it had read all that was said
                            return
                        if not packet:
                            return
                        self.handle(fds)
                    elif key.data is not None:
                        self.hear(key.data)
                    else:
                        os.read(wake_read, 4096)
                        self.reap()
                for pid in self.workers.overdue():
                    _kill_group(pid, signal.SIGKILL)

    def say(self, message: Message) -> None:
        try:
            self.link.send(json.dumps(message).encode())
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            os._exit(0)

    def handle(self, fds: list[int]) -> None:
        try:
            self.answer(_worker.read(fds[0]), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def answer(self, request: Message, fds: list[int]) -> None:
        if request["op"] == "kill":
            for pid, known in self.children.items():
                if known == request["id"]:
                    _kill_group(pid, request["signal"])
            return
        ours: socket.socket | None = None
        theirs: socket.socket | None = None
        if request["op"] == "run" and self.objects is not None and request["reuse"] > 1:
            if pid := self.workers.take(fds):
                self.children[pid] = request["id"]
                self.say({"id": request["id"], "pid": pid})
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no more processes or memory: that program's failure, not the server's
            self.say({"id": request["id"], "error": f"fork: {error.strerror}"})
            self.say({"id": request["id"], "status": 128 << 8, "cpu": 0.0, "rss": 0})
            return
        if pid == 0:
            if request["op"] == "warm":
                _become_server(self, request, fds[1])
            else:
                _become_program(self, request, fds[1], parent, theirs)
        if ours is not None and theirs is not None:
            theirs.close()
            self.workers.add(pid, ours)
            self.selector.register(ours, selectors.EVENT_READ, pid)
        self.children[pid] = request["id"] if request["op"] == "run" else None
        if request["op"] == "run":
            self.say({"id": request["id"], "pid": pid})

    def hear(self, pid: int) -> None:
        """A worker has ended a program and can take another, or is about to end itself."""
        link = self.workers.link(pid)
        if link is None or link not in self.selector.get_map():
            return  # it has been reaped, or has said before that it ends
        message = self.workers.hear(pid)
        if message is None:
            self.selector.unregister(link)
            return
        request, self.children[pid] = self.children[pid], _IDLE
        self.say({"id": request, "status": 0, **message})

    def reap(self) -> None:
        while self.children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            self.hear(ended.si_pid)  # its last messages
            request = self.children.pop(ended.si_pid, None)
            if request is not None:
                _kill_group(ended.si_pid, signal.SIGKILL)  # before the wait below frees the group's number
            _, status, usage = os.wait4(ended.si_pid, 0)
            reported = self.workers.forget(ended.si_pid, self.selector)
            if request is not None and request != _IDLE:
                cpu = usage.ru_utime + usage.ru_stime - reported
                self.say({"id": request, "status": status, "cpu": cpu, "rss": usage.ru_maxrss * 1024})

    def close(self) -> None:
        for pid, request in self.children.items():
            if request is not None:  # a forked server is notified on its own socket
                _kill_group(pid, signal.SIGKILL)


def _kill_group(pid: int, signum: int) -> None:
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        try:
            os.kill(pid, signum)  # forked just now, and not yet the leader of its group
        except ProcessLookupError:
            return


def _become_server(server: Server, request: Message, fd: int) -> NoReturn:
    """In a fork: import the program's module, then serve on `fd`."""
    server.link.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    link = socket.socket(fileno=fd)
    warm = Server(link, server.path, imported=True)
    try:
        os.setsid()
        atexit._clear()
        before = set(sys.modules)
        _enter(request, server.path)
        if shadow := _shadowed(request):
            raise ImportError(f"{shadow} shadows a module that is already loaded")
        importlib.invalidate_caches()
        importlib.import_module(request["module"])
        lost = _threads.lost_by_a_fork()
        if lost:
            why = f"importing it leaves {lost} threads running, which a fork would lose"
            warm.say({"ready": False, "why": why, "files": _sources(before)})
        else:
            warm.objects = _worker.objects_of_the_project(request["module"])
            warm.serve(_sources(before))
    except BaseException as error:  # noqa: BLE001 - user code ran: whatever it raised, sys.exit included, is the answer
        warm.say({"ready": False, "why": f"{type(error).__name__}: {error}", "files": []})
    warm.close()
    os._exit(0)


def _become_program(server: Server, request: Message, log: int, parent: int, again: socket.socket | None) -> NoReturn:
    """In a fork: become the program that was asked for, by exec or by running its entry here; and then those that come
    on `again`.
    """
    code = 1
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(137)
        _score_for_oom()
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        entry = request["entry"]
        if not server.imported and entry:
            atexit._clear()
            _enter(request, server.path)
            if _shadowed(request):
                entry = None
        links = _workdir.populate(request["project"], request["cwd"]) if request["populate"] else []
        if not entry:
            try:
                os.chdir(request["cwd"])
                os.execve(request["executable"], request["argv"], request["env"])  # noqa: S606 - the purpose of this file
            except OSError as error:
                server.say({"id": request["id"], "error": f"{error.strerror}: {error.filename}"})
                os._exit(128)
        _program.enter(request)
        server.link.close()
        server.workers.close()
        os.close(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        code = _worker.run_programs(again, request, server.objects, links)
    except BaseException:  # noqa: BLE001 - the last frame of a process: no caller could handle it
        traceback.print_exc()
    finally:
        os._exit(code)


def _score_for_oom() -> None:
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
            score.write(_OOM_SCORE)
    except OSError:
        return  # a hardened /proc: then the kernel judges by size alone


def _enter(request: Message, path: list[str]) -> None:
    """Set sys.path and the environment to the program's, so that its imports resolve as they would without the fork."""
    _program.set_environment(request["env"])
    entry = request["entry"]
    python_path = [os.path.abspath(item) for item in request["env"].get("PYTHONPATH", "").split(os.pathsep) if item]
    project = [request["project"]] if entry["is_task"] and request["project"] else []
    sys.path[:] = [*project, entry["path0"], *python_path, *path]
    if request.get("cwd"):
        os.chdir(request["cwd"])
        if request["op"] == "warm" and request["cwd"] not in sys.path:
            sys.path.append(request["cwd"])  # as flytekit's entry points do before they load the task


def _shadowed(request: Message) -> str:
    """Return a module of the program that would shadow one already loaded from elsewhere; empty if there is none.

    A project's modules shadow none: `pyflyte run`, too, imports flytekit before it adds them to the path.
    """
    own = "" if request["project"] else request["cwd"]
    for directory in {own, *request["env"].get("PYTHONPATH", "").split(os.pathsep)}:
        for name in os.listdir(directory) if directory and os.path.isdir(directory) else ():
            path = os.path.join(directory, name)
            stem = name.removesuffix(".py")
            file = getattr(sys.modules.get(stem), "__file__", None)
            is_module = name.endswith(".py") or os.path.exists(os.path.join(path, "__init__.py"))
            if file and is_module and stem != "__main__" and not file.startswith(path):
                return str(path)
    return ""


def _sources(before: Any) -> list[Any]:
    """Path, mtime and size of each file imported since `before` that people edit: those that no installer put there."""
    files = []
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if path and "site-packages" not in path and not path.startswith(sys.base_prefix + os.sep + "lib"):
            stat = os.stat(path)
            files.append([path, stat.st_mtime_ns, stat.st_size])
    return files


def _preload(module: str) -> None:
    """Import a module, or run the file of that path as one."""
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    name = os.path.basename(module).removesuffix(".py")
    with open(module, "rb") as source:
        loaded = types.ModuleType(name)
        loaded.__file__ = module
        exec(compile(source.read(), module, "exec"), loaded.__dict__)  # noqa: S102 - a file that the settings name


def main() -> None:
    """`_zygote.py SOCKET_FD [MODULE ...]`: import the modules, then serve on the inherited socket."""
    link = socket.socket(fileno=int(sys.argv[1]))
    path = [item for item in sys.path if item != os.path.dirname(os.path.abspath(__file__))]
    sys.path[:] = path
    server = Server(link, path, imported=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the kubelet's to handle
    try:
        for module in sys.argv[2:]:
            _preload(module)
    except Exception as error:  # noqa: BLE001 - any failure to import means: run programs by exec instead
        server.say({"ready": False, "why": f"{type(error).__name__}: {error}", "files": []})
        return
    try:
        server.serve([])
    finally:
        server.close()
    os._exit(0)  # taking down the imported modules would take longer than all the rest


if __name__ == "__main__":
    main()
