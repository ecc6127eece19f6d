"""Resolve a container's command to a program of this machine: there are no images, so names resolve in the user's
environment.

`python`, `python3` and flytekit's entry points are the user's interpreter's, whatever their path in an image. Other
names are looked up on the container's PATH, as exec does. Python programs can run in a fork and get an `Entry`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from propeller.embedded.kubelet._processes import CannotStart, Command, Entry

PROPELLER = "propeller"
"""The command of propeller's image: here it is this very package, whatever the user's environment has."""

_OF_THE_INTERPRETER = re.compile(r"python(3(\.\d+)?)?|pyflyte(-execute|-fast-execute|-map-execute)?")
_TASK_COMMANDS = ("pyflyte-execute", "pyflyte-map-execute")


def command_for(
    words: tuple[str, ...], *, env: Mapping[str, str], cwd: str, python: str, project: str = "", populate: bool = False
) -> Command:
    """The program that `words` start in `cwd`; `python` is the user's interpreter. Raises `CannotStart` if there is
    none.

    If `cwd` is still to be populated from the project, programs that are named relative to it are the project's.
    """
    if not words:
        raise CannotStart("no command: the pod names none, and there is no image to take one from")
    if words[0] == PROPELLER:
        words = (sys.executable, "-I", "-m", "propeller.cli", *words[1:])
        return Command(executable=sys.executable, argv=words, env=env, cwd=cwd)
    if not Path(cwd).is_dir():
        raise CannotStart(f"workingDir {cwd}: no such directory on this machine")
    beside = project if populate else cwd
    executable = _find(words[0], env=env, cwd=beside, python=python)
    entry = _entry(executable, words, beside, python)
    return Command(executable=executable, argv=words, env=env, cwd=cwd, entry=entry, project=project, populate=populate)


def task_module(command: Command) -> str:
    """Return the user's module that a flytekit command will load; empty if there is none, or if the command downloads
    its code first.
    """
    if Path(command.executable).name not in _TASK_COMMANDS or "--dynamic-addl-distro" in command.argv:
        return ""
    for word, value in zip(command.argv, command.argv[1:], strict=False):
        if word == "task-module":
            return value
    return ""


def _find(name: str, *, env: Mapping[str, str], cwd: str, python: str) -> str:
    base = Path(name).name
    if _OF_THE_INTERPRETER.fullmatch(base):
        own = Path(python).with_name(base)
        if os.access(own, os.X_OK):
            return str(own)
        if base.startswith("python"):
            return python
    path = str(Path(cwd, name)) if "/" in name else shutil.which(name, path=env.get("PATH", os.defpath))
    if path is None or not Path(path).exists():
        where = "" if "/" in name else " in $PATH"
        raise CannotStart(f'exec: "{name}": executable file not found{where} (no image is pulled: it must be here)')
    if Path(path).is_dir() or not os.access(path, os.X_OK):
        raise CannotStart(f'exec: "{name}": permission denied')
    return path


def _entry(executable: str, words: tuple[str, ...], cwd: str, python: str) -> Entry | None:
    path, interpreter = Path(executable), Path(python)
    if path.parent != interpreter.parent:
        return None
    if path.resolve() == interpreter.resolve():
        return _interpreter_entry(words[1:], cwd)
    with path.open("rb") as file:
        first = os.fsdecode(file.readline(4096).strip())
    if first.startswith("#!") and Path(first[2:]).resolve() == interpreter.resolve():
        is_task = path.name in _TASK_COMMANDS
        return Entry("file", executable, str(path.resolve().parent), (executable, *words[1:]), is_task)
    return None


def _interpreter_entry(arguments: tuple[str, ...], cwd: str) -> Entry | None:
    match arguments:
        case ("-m", module, *_):
            return Entry("module", module, cwd, arguments[1:])
        case (file, *_) if not file.startswith("-") and Path(cwd, file).is_file():
            target = Path(cwd, file)
            return Entry("file", str(target), str(target.resolve().parent), arguments)
        case _:
            return None  # -c, other options, a directory or archive: the interpreter knows best
