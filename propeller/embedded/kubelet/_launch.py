"""Start a container's process from its spec, and read its termination message: the job of a container runtime.

Errors
    `Invalid` if the API server's objects can still be corrected (a missing ConfigMap), `CannotStart` and `OSError` if
    the container fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from propeller import config
from propeller.clock import Clock
from propeller.embedded.kubelet._api import Api
from propeller.embedded.kubelet._commands import command_for
from propeller.embedded.kubelet._environment import Reference, expand_all, references, resolve
from propeller.embedded.kubelet._logs import open_log, tail_bytes, tail_lines
from propeller.embedded.kubelet._placed import SANDBOX, Places, can_mount, exchanges_files, mounted
from propeller.embedded.kubelet._processes import CannotStart, Command, Process
from propeller.embedded.kubelet._tokens import Tokens
from propeller.embedded.kubelet._volumes import PodDirectory, with_secrets
from propeller.errors import Invalid, PropellerError
from propeller.kube._objects import Raw
from propeller.quantity import parse

_MESSAGE_BYTES = 4096  # upstream's cap of a termination message
_FALLBACK_BYTES, _FALLBACK_LINES = 2048, 80  # upstream's cap if the log's tail is the message
_NO_LIMIT = 1 << 62
_PRELOAD = "propeller.embedded/preload"
_IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # container runtimes' default


class Starter(Protocol):
    """Starts processes: `Servers`, or a stand-in."""

    @property
    def python(self) -> str:
        """Path of the user's interpreter."""

    async def start(self, command: Command, log: int, *, preload: bool) -> Process:
        """Start a program, output to the descriptor `log`; `preload` allows to fork from its imported module."""


class Launcher:
    """Starts the containers of one pod."""

    def __init__(
        self,
        pod: Raw,
        *,
        api: Api,
        starter: Starter,
        settings: config.KubeletOptions,
        clock: Clock,
        directory: PodDirectory,
        base_env: dict[str, str],
        service_env: dict[str, str],
    ) -> None:
        """`base_env` is for processes of this machine, `service_env` for all."""
        self._pod = pod
        self._api = api
        self._starter = starter
        self._settings = settings
        self._directory = directory
        self._base_env = base_env
        self._service_env = service_env
        self._tokens = Tokens(
            pod,
            given=bool(service_env),  # without the API server's address a pod could not use one
            api=api,
            clock=clock,
            retry=settings.retry,
            refresh=settings.token_refresh,
        )
        self._objects: dict[Reference, Raw | None] = {}

    async def configure(self, container: Raw) -> Command:
        """The container's program, with everything that it refers to read and its volumes made."""
        await self._read_objects(container)
        self._directory.fill(self._pod, self._objects, self._tokens)
        if (image := self._settings.images.get(container.get("image") or "")) is not None:
            return self._in_image(container, image)
        name = container["name"]
        own = {"HOSTNAME": self._pod["metadata"]["name"], "TMPDIR": str(self._directory.tmp)}
        base = {**self._base_env, **self._service_env, **own, **self._directory.mounts(container)}
        env = resolve(self._pod, container, base=base, objects=self._objects)
        env = with_secrets(self._directory, self._pod, container, env)
        words = expand_all([*(container.get("command") or ()), *(container.get("args") or ())], env)
        given, project = container.get("workingDir") or "", self._settings.project
        placed = exchanges_files(self._pod, container)
        mounts = placed and await asyncio.to_thread(can_mount)
        if placed and not mounts:
            words, env = Places(container, self._directory).replaced(words, env)
        command = command_for(
            words,
            env=env,
            cwd=given or str(self._directory.work(name)),
            python=self._starter.python,
            project=project,
            populate=bool(project) and not given,
        )
        return mounted(command, container, self._directory, self._starter.python) if mounts else command

    def _in_image(self, container: Raw, image: str) -> Command:
        """The program in the root file system of its image, with its volumes mounted."""
        base = {"PATH": _IMAGE_PATH, "HOSTNAME": self._pod["metadata"]["name"], **self._service_env}
        env = resolve(self._pod, container, base=base, objects=self._objects)
        words = expand_all([*(container.get("command") or ()), *(container.get("args") or ())], env)
        if not words:
            raise CannotStart("no command: the pod names none, and an unpacked image has none")
        rules = (self._pod["spec"].get("securityContext") or {}) | (container.get("securityContext") or {})
        user = int(rules.get("runAsUser") or 0)
        spec = {
            "image": str(Path(image).absolute()),
            "scratch": str(self._directory.layer(container["name"])),
            "mounts": [
                (str(path), mount["mountPath"], bool(mount.get("readOnly")))
                for mount, path in self._directory.mounted(container)
            ],
            "read_only": bool(rules.get("readOnlyRootFilesystem")),
            "user": user,
            "group": int(rules.get("runAsGroup") or user),
            "cwd": container.get("workingDir") or "/",
            "argv": words,
            "variables": list(env),
        }
        argv = (*SANDBOX, json.dumps(spec))
        return Command(executable=sys.executable, argv=argv, env=env, cwd=str(self._directory.path))

    def keeping_tokens(self) -> AbstractAsyncContextManager[None]:
        """Replace service account tokens in the pod's volumes before they expire, as long as the block runs."""
        return self._tokens.kept(self._directory.volumes)

    async def start(self, container: Raw, command: Command) -> Process:
        self._directory.clear_message(container["name"])
        log = open_log(self._directory.log(container["name"]))
        try:
            preload = (self._pod["metadata"].get("annotations") or {}).get(_PRELOAD) != "false"
            return await self._starter.start(command, log, preload=preload)
        finally:
            os.close(log)

    def message(self, container: Raw, *, failed: bool) -> str:
        """Return the container's termination message, or the tail of its log if its policy says so."""
        text = tail_bytes(self._directory.message(container["name"]), _MESSAGE_BYTES).decode(errors="replace")
        if not text and failed and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            text = tail_lines(self._directory.log(container["name"]), _FALLBACK_LINES, _FALLBACK_BYTES)
        return text

    async def _read_objects(self, container: Raw) -> None:
        for kind, name in sorted(references(self._pod, container)):
            if self._objects.get((kind, name)) is None:
                try:
                    self._objects[kind, name] = await self._api.read(kind, self._pod["metadata"]["namespace"], name)
                except PropellerError as error:
                    raise Invalid(f'{kind.lower()} "{name}" could not be read: {error}') from error
        try:
            await self._tokens.obtain()
        except PropellerError as error:
            raise Invalid(f"failed to fetch token: {error}") from error


def memory_limit(container: Raw) -> int:
    """Return the memory limit in bytes; practically infinite if the container has none. Raises `Invalid` if it is not a
    quantity.
    """
    text = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return _NO_LIMIT if text is None else int(parse(text))
