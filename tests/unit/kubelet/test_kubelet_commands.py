"""Which program of this machine a container's words mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from propeller.embedded.kubelet._commands import command_for, task_module
from propeller.embedded.kubelet._processes import CannotStart, Command


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A user's interpreter with one console script beside it."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    (tmp_path / "bin" / "pyflyte-execute").write_text(f"#!{python}\n")
    (tmp_path / "bin" / "tool").write_text("#!/bin/sh\n")
    for name in ("python", "pyflyte-execute", "tool"):
        (tmp_path / "bin" / name).touch()
        (tmp_path / "bin" / name).chmod(0o700)
    return str(python)


def _command(python: str, *words: str) -> Command:
    env = {"PATH": os.pathsep.join([str(Path(python).parent), os.defpath])}
    return command_for(words, env=env, cwd="/", python=python)


@pytest.mark.parametrize("name", ["python", "python3", "/usr/local/bin/python3.11", "/opt/venv/bin/python"])
def test_python_is_the_users_wherever_the_image_has_it(python: str, name: str) -> None:
    assert _command(python, name, "-c", "1").executable == python


def test_flytekits_entry_points_are_the_users_and_can_be_forked(python: str) -> None:
    command = _command(python, "/image/bin/pyflyte-execute", "--inputs", "x")
    assert command.executable == str(Path(python).with_name("pyflyte-execute"))
    assert command.entry is not None
    assert command.entry.argv == (command.executable, "--inputs", "x")


def test_programs_that_are_not_python_are_not_forked(python: str) -> None:
    assert _command(python, "tool").entry is None
    assert _command(python, "sh").entry is None


@pytest.mark.parametrize("arguments", [("-c", "1"), ("-u", "f.py"), ("-",), (), ("no-such-file.py",)])
def test_options_are_left_to_the_interpreter(python: str, arguments: tuple[str, ...]) -> None:
    assert _command(python, "python", *arguments).entry is None


def test_a_pod_without_a_command_fails_because_there_is_no_image(python: str) -> None:
    with pytest.raises(CannotStart, match="there is no image"):
        _command(python)


def test_the_task_module_is_read_from_flytekits_arguments(python: str) -> None:
    resolver = ("--resolver", "r", "--", "task-module", "a.b", "task-name", "t")
    assert task_module(_command(python, "pyflyte-execute", *resolver)) == "a.b"
    assert task_module(_command(python, "pyflyte-execute", "--dynamic-addl-distro", "s3://x", *resolver)) == ""
    assert task_module(_command(python, "tool", *resolver)) == ""
