"""Choose the forking server for a command: the bare one, flytekit's, or one that has also imported the task's module.

Guarantees
    A Python program that cannot be forked correctly is started by exec instead, and the reason is logged once.
    A server with a task's module is used only for the same interpreter, working directory and environment (except
    variables that Flyte sets for each attempt), and only while the files that it imported are unchanged. When the
    context exits, all servers and their processes are gone.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from propeller import config
from propeller.embedded.kubelet._commands import task_module
from propeller.embedded.kubelet._processes import CannotStart, Command, Process, Server

_log = logging.getLogger(__name__)

_READ_AT_START = ("PYTHON", "FLYTE_SDK_", "LD_", "MALLOC_", "GLIBC_", "LANG", "LC_")
"""Prefixes of variables that the interpreter, the loader or flytekit reads when it starts: a server has them from its
beginning.
"""

_PER_ATTEMPT = ("FLYTE_INTERNAL_", "FLYTE_ATTEMPT_", "FLYTE_START_", "FLYTE_K8S_", "_F_", "BATCH_JOB_", "PROPELLER_")
_PER_POD = ("HOSTNAME", "TMPDIR")

_Key = tuple[object, ...]


class Servers:
    """The forking servers of one kubelet. Use within `async with`."""

    def __init__(self, settings: config.KubeletOptions, *, workdir: Path, env: Mapping[str, str]) -> None:
        self.python = settings.python or sys.executable
        self._settings = settings
        self._workdir = workdir
        self._env = env
        self._bare: Server | None = None
        self._libraries: dict[_Key, Server] = {}
        self._modules: dict[_Key, Server] = {}  # in order of last use
        self._retired: list[Server] = []  # to be let go when the last process that they started has ended
        self._dead: list[Server] = []  # killed from outside, still to be reaped
        self._refused: set[str] = set()

    async def __aenter__(self) -> Servers:
        self._workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._bare_server()
        if self._settings.zygote:
            self._library_server({})  # imports while the first pod is still being written
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        every = [*self._modules.values(), *self._retired, *self._libraries.values(), *self._dead]
        for server in [*every, self._bare]:
            if server is not None:
                await server.close()

    async def start(self, command: Command, log: int, *, preload: bool) -> Process:
        """Start a program with output to `log`; `preload` allows to fork from its already imported module."""
        server = await self._server_for(command, preload=preload) if command.entry and self._settings.zygote else None
        if server is None or not server.alive:
            bare = await self._bare_server()
            return bare.run(msgspec.structs.replace(command, entry=None), log)
        return server.run(msgspec.structs.replace(command, reuse=self._settings.tasks_per_process), log)

    @property
    def _log_path(self) -> Path:
        return self._workdir / "servers.log"

    def _server_env(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**self._env, **_starting_with(env, _READ_AT_START), "TMPDIR": str(self._workdir)}

    async def _bare_server(self) -> Server:
        """The one for other programs, started again should something have killed it."""
        if self._bare is None or not self._bare.alive:
            if self._bare is not None:
                self._dead.append(self._bare)
            env = self._server_env({})
            self._bare = Server.launch(sys.executable, (), env=env, cwd=self._workdir, log=self._log_path)
        await self._bare.ready()
        return self._bare

    def _library_server(self, env: Mapping[str, str]) -> Server:
        own = self._server_env(env)
        own.pop("PYTHONPATH", None)  # each program's own, set after the fork
        key = (tuple(sorted(own.items())),)
        server = self._libraries.get(key)
        if server is not None and server.lost:
            self._dead.append(server)
            server = None
        if server is None:
            server = Server.launch(self.python, self._settings.preload, env=own, cwd=self._workdir, log=self._log_path)
            self._libraries[key] = server
        return server

    async def _server_for(self, command: Command, *, preload: bool) -> Server | None:
        library = self._library_server(command.env)
        try:
            await library.ready()
        except CannotStart as error:
            self._refuse("Python programs", error)
            return None
        module = task_module(command)
        if not (preload and self._settings.preload_tasks and module):
            return library
        server = self._module_server(library, module, command)
        try:
            await server.ready()
        except CannotStart as error:
            self._refuse(f"tasks of module {module}", error)
            return library
        return server

    def _module_server(self, library: Server, module: str, command: Command) -> Server:
        env = {
            name: value
            for name, value in command.env.items()
            if not name.startswith(_PER_ATTEMPT) and name not in _PER_POD
        }
        cwd = command.cwd
        if command.populate:
            cwd = command.project
        elif not any(Path(cwd).iterdir()):
            cwd = ""  # an empty directory holds no module: any will do
        key = (id(library), module, cwd, tuple(sorted(env.items())))
        server = self._modules.pop(key, None)
        if server is not None and not server.current():
            self._retired.append(server)
            server = None
        if server is None:
            env["TMPDIR"] = str(self._workdir)
            server = library.warm(module, msgspec.structs.replace(command, env=env, cwd=cwd))
        self._modules[key] = server
        self._retire()
        return server

    def _retire(self) -> None:
        """Let go of the least recently used servers over the limit; one goes when the last process it started has
        ended.
        """
        idle = [key for key, server in self._modules.items() if not server.busy]
        for key in idle[: max(0, len(self._modules) - max(1, self._settings.idle_processes))]:
            if key != next(reversed(self._modules)):
                self._retired.append(self._modules.pop(key))
        for server in [one for one in self._retired if not one.busy]:
            self._retired.remove(server)
            server.release()

    def _refuse(self, what: str, error: CannotStart) -> None:
        if what not in self._refused:
            self._refused.add(what)
            _log.warning("%s start without a preloaded process, which is slower: %s", what, error)


def _starting_with(env: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(prefixes)}
