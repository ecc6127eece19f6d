"""The real components that servers of this room are started from: executables of their own.

They are looked for in the directory that `KUBEBUILDER_ASSETS` names, as controller-runtime's envtest does, and in PATH;
those of PostgreSQL also in the wheel that is in `postgresql` of that directory, and where Debian has them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from propeller.errors import PropellerError

MENDS = {
    "kube-apiserver": "set KUBEBUILDER_ASSETS to a directory that has it, such as `setup-envtest use -p path` prints",
    "initdb": "install the server of PostgreSQL",
    "openssl": "install the package openssl",
    "postgres": "install the server of PostgreSQL",
    "rclone": "install rclone",
    "redis-server": "install Redis",
}
"""How to get each component; `kubectl` and `etcd` come with kube-apiserver."""

POSTGRESQL = ("initdb", "postgres")


class MissingComponent(PropellerError):
    """A real component is not on this machine; the message says how to get it. `component` is its name."""

    def __init__(self, component: str) -> None:
        mend = MENDS.get(component, MENDS["kube-apiserver"])
        super().__init__(f"{component} is not here: {mend}")
        self.component = component


def find(component: str) -> Path | None:
    """The executable of a component, None if it is not on this machine."""
    chosen = os.environ.get("KUBEBUILDER_ASSETS")
    if chosen and os.access(path := Path(chosen, component), os.X_OK):
        return path
    if component in POSTGRESQL:
        return _find_of_postgresql(component, chosen)
    found = shutil.which(component)
    return None if found is None else Path(found)


def _find_of_postgresql(command: str, chosen: str | None) -> Path | None:
    directories = sorted(Path(chosen).glob("postgresql/*/pginstall*/bin")) if chosen else []
    directories += [Path(name) for name in os.environ.get("PATH", "").split(os.pathsep)]
    directories += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = (directory / command for directory in directories)
    return next((path for path in found if os.access(path, os.X_OK)), None)


def binary(component: str) -> Path:
    """The executable of a component. Raises MissingComponent."""
    if (path := find(component)) is None:
        raise MissingComponent(component)
    return path
