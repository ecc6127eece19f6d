"""The real components that tests run against: found, waited for while they are being built, or asked for.

Guarantees
    What is found is whole: tools/assets.py renames binaries into place.
    Where a component is missing, the test is skipped with the command that gets it; with CI=true it fails instead.
    While tools/test.sh builds in the background (PROPELLER_ASSETS_BUILDING=1) a missing component is waited for, as
    long as the build holds its lock and `MAX_WAIT` has not passed.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from propeller import testing
from tools.assets import bin_directory

BINARIES = frozenset(
    {"kube-apiserver", "etcd", "kubectl", "redis-server", "rclone", "helm"}
    | {"kube-controller-manager", "kube-scheduler", "postgres"}
)
"""Components that are executables of their own."""

COMPONENTS = {
    "embedded": "embedded server",
    "kube-apiserver": "kube-apiserver",
    "redis-server": "Redis",
    "rclone": "S3 (rclone)",
    "postgres": "PostgreSQL",
    "kubectl": "kubectl",
    "helm": "Helm",
    "kube-controller-manager": "kube controllers",
    "kube-scheduler": "kube-scheduler",
    "flytekit": "flytekit",
}
"""What a test may need, by the name that people know it by. `embedded` is a part of the package, and always here; etcd
comes with kube-apiserver."""

MAX_WAIT = 40 * 60.0
"""Seconds. The whole build takes about a quarter of an hour on two cores, more beside tests; one that takes longer than
this hangs."""

if not os.environ.get("KUBEBUILDER_ASSETS"):
    os.environ["KUBEBUILDER_ASSETS"] = str(bin_directory())  # of `make assets`
os.environ["PATH"] += f"{os.pathsep}{bin_directory()}"  # for what a chosen directory lacks

_HEAD_START = 30.0  # seconds from our start in which a build that was started beside us may not hold its lock yet
_LOOK_EVERY = 0.5  # seconds
_STARTED = time.monotonic()


def binary(name: str) -> Path:
    """The executable of a component; skips the test (fails it in CI) where there is none."""
    if (path := wait_for(name)) is None:
        give_up(name)
    return path


def give_up(name: str) -> NoReturn:
    """Skip or fail the running test for want of a component."""
    command = "make setup-dev" if name == "flytekit" else "make assets"
    message = f"{name} is not here; get it with: {command}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def is_here(name: str) -> bool:
    """Whether a component can be used now."""
    if name in BINARIES:
        return testing.find(name) is not None
    return name == "embedded" or importlib.util.find_spec(name) is not None


def wait_for(name: str, say: Callable[[str], None] = lambda line: None) -> Path | None:
    """The executable, as soon as the build beside us has made it; None where no build will."""
    end = time.monotonic() + MAX_WAIT
    told = False
    while (path := testing.find(name)) is None and _is_building():
        if not told:
            say(f"waiting for {name}, which is being built; at most {MAX_WAIT / 60:.0f} minutes")
            told = True
        if time.monotonic() > end:
            say(f"{name} was not built within {MAX_WAIT / 60:.0f} minutes: giving it up")
            return None
        time.sleep(_LOOK_EVERY)
    return path


def _is_building() -> bool:
    if os.environ.get("PROPELLER_ASSETS_BUILDING") != "1":
        return False
    try:
        with (bin_directory() / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass  # nobody has built anything yet
    return time.monotonic() - _STARTED < _HEAD_START
