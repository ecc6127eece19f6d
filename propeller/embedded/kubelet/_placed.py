"""Let a process find volumes at the paths where its container mounts them, without a container.

Where this user may mount, the process begins in `_sandbox.py`. Elsewhere these paths are replaced by those of the
volumes in the command, its arguments and the container's own variables; a program that has such a path in itself does
not find them.

Only containers with a directory of their pod's own (emptyDir on disk) are treated so: their programs exchange files
there. A program of flytekit's that mounts a Secret finds it by variables, and can run in a fork, which this cannot.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from propeller.embedded.kubelet._processes import Command
from propeller.embedded.kubelet._volumes import PodDirectory
from propeller.kube._objects import Raw

SANDBOX = (sys.executable, "-I", "-S", str(Path(__file__).with_name("_sandbox.py")))
"""Begin of the command of a process that enters a container's file system first; what it is to do follows."""

_PROBE_SECONDS = 10.0


def exchanges_files(pod: Raw, container: Raw) -> bool:
    """Whether the container mounts a directory that its pod has for its own."""
    own = {one["name"] for one in pod["spec"].get("volumes") or () if _is_directory(one)}
    return any(mount["name"] in own for mount in container.get("volumeMounts") or ())


def _is_directory(volume: Raw) -> bool:
    return volume.get("emptyDir") is not None and volume["emptyDir"].get("medium") != "Memory"


@functools.cache
def can_mount() -> bool:
    """Whether this user may mount, as root or in a user namespace: tried once, in a process."""
    try:
        ended = subprocess.run([*SANDBOX, "probe"], check=False, timeout=_PROBE_SECONDS, capture_output=True)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def mounted(command: Command, container: Raw, directory: PodDirectory, python: str) -> Command:
    """Return the command that mounts the container's volumes first. What an image would have of its own stays visible:
    the interpreter, the project, and the kubelet's directory and files that flytekit is to read and write.
    """
    home = directory.path.parent.parent
    programs = [Path(path).parent.parent for path in (command.executable, python)]
    files = [word.removeprefix("file://") for word in command.argv if word.startswith("file:///")]
    spec = {
        "mounts": [
            (str(path.resolve()), mount["mountPath"].rstrip("/"), bool(mount.get("readOnly")))
            for mount, path in directory.mounted(container)
        ],
        "needs": [*map(str, (home, home.resolve(), *programs)), command.project, *files],
        "scratch": str(directory.layer(container["name"])),
        "cwd": command.cwd,
        "executable": command.executable,
        "argv": command.argv,
        "variables": list(command.env),
    }
    argv = (*SANDBOX, json.dumps(spec))
    return msgspec.structs.replace(command, executable=sys.executable, argv=argv, entry=None)


class Places:
    """Replaces the paths of a container's volumes in texts."""

    def __init__(self, container: Raw, directory: PodDirectory) -> None:
        self._paths = {mount["mountPath"].rstrip("/"): str(path) for mount, path in directory.mounted(container)}
        longest_first: Sequence[str] = sorted(filter(None, self._paths), key=len, reverse=True)
        any_of_them = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.-])"
        self._found = re.compile(any_of_them)

        self._own = {one["name"] for one in container.get("env") or ()}

    def replaced(self, words: Sequence[str], env: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return command and environment with the volumes' own paths."""
        own = {name: self._in_text(value) if name in self._own else value for name, value in env.items()}
        return tuple(map(self._in_text, words)), own

    def _in_text(self, text: str) -> str:
        return self._found.sub(lambda match: self._paths[match[0]], text)
