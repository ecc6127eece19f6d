"""A pod's directories: logs, termination messages, volumes; and temporary files, by a path short enough for sockets.

They contain everything of a pod on disk, and nothing else.

Caveats
    An unprivileged user cannot mount (but see `_placed.py`). A volume is a directory here, and the path of each volume
    that a container mounts is in its environment as PROPELLER_VOLUME_<NAME> (letters upper case, others `_`), so that
    `$(PROPELLER_VOLUME_DATA)/x` works in args; likewise PROPELLER_TERMINATION_LOG for terminationMessagePath. Links
    under `root/` show the paths that an image would have, and a variable whose value is a path to, above or in a
    mounted Secret gets that path: so flytekit finds the secrets of tasks. Claims are empty directories. Containers that
    run in a root file system of their own (`_sandbox.py`) have volumes mounted where their spec says.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from propeller.embedded.kubelet._environment import Reference, field_value, object_data
from propeller.embedded.kubelet._home import remove
from propeller.embedded.kubelet._tokens import Tokens, replace
from propeller.errors import Invalid
from propeller.kube._objects import Raw

_MESSAGE = "message."
_NOT_IN_VARIABLES = re.compile(r"[^A-Z0-9]")


class MountFailed(Invalid):
    """A volume cannot be made yet; `event` says it as the kubelet's FailedMount does."""

    def __init__(self, volume: str, why: Invalid) -> None:
        super().__init__(str(why))
        self.event = f'MountVolume.SetUp failed for volume "{volume}" : {why}'


class PodDirectory:
    """The directory of one pod, readable by its owner only.

    `clear` may run in another thread. It removes nothing after `remove`, when the path may be a later run's.
    """

    def __init__(self, path: Path, tmp: Path, logs: Path | None = None, name: str = "") -> None:
        """`tmp` is the directory for temporary files, `logs` the one for logs, by the pod's name, if they are not kept
        in `path`.
        """
        self.path = path
        self.tmp = tmp
        self._logs = logs
        self._name = name
        self._removing = threading.Lock()
        self._removed = False

    def create(self) -> None:
        """Create what every pod needs. The rest is created on demand: each directory costs 0.1 ms to create, and
        milliseconds to remove on a busy disk.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in (self.tmp, *((self.path / "logs",) if self._logs is None else ())):
            made.mkdir(mode=0o700, exist_ok=True)

    def clear(self) -> None:
        """Remove what only its processes have used: logs and messages of an ended pod stay."""
        with self._removing:
            if self._removed:
                return
            remove(self.tmp)
            if not self.path.exists():
                return
            for inner in self.path.glob("layer.*/work/work"):
                inner.chmod(0o700)  # overlayfs leaves it without permissions
            for path in self.path.iterdir():
                if path.name != "logs" and not path.name.startswith(_MESSAGE):
                    remove(path)

    def remove(self) -> None:
        """Remove everything; files that cannot be removed (a process wrote them as another user) stay."""
        with self._removing:
            self._removed = True
            remove(self.tmp)
            remove(self.path)

    def log(self, container: str) -> Path:
        if self._logs is None:
            return self.path / "logs" / f"{container}.log"
        return self._logs / (f"{self._name}.log" if container == self._name else f"{self._name}.{container}.log")

    def message(self, container: str) -> Path:
        return self.path / f"{_MESSAGE}{container}"

    def clear_message(self, container: str) -> None:
        """Begin an empty one, whatever the container's last process has put there."""
        path = self.message(container)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)

    def work(self, container: str) -> Path:
        """Return the container's default working directory."""
        path = self.path / f"work.{container}"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def volumes(self) -> Path:
        return self.path / "volumes"

    def layer(self, container: str) -> Path:
        """Return the directory of what a container changes in the root file system of its image."""
        return self.path / f"layer.{container}"

    def fill(self, pod: Raw, objects: Mapping[Reference, Raw | None], tokens: Tokens) -> None:
        """Make the pod's volumes. Raises `MountFailed` if a ConfigMap or Secret is missing."""
        for volume in pod["spec"].get("volumes") or ():
            try:
                self._fill(pod, volume, objects, tokens)
            except Invalid as error:
                raise MountFailed(volume["name"], error) from error

    def _fill(self, pod: Raw, volume: Raw, objects: Mapping[Reference, Raw | None], tokens: Tokens) -> None:
        directory = self.volumes / _inside(volume["name"])
        directory.parent.mkdir(mode=0o700, exist_ok=True)
        if "hostPath" in volume:
            if not directory.is_symlink():
                directory.symlink_to(volume["hostPath"]["path"])
            return
        directory.mkdir(mode=0o700, exist_ok=True)
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
                if field in source:
                    _write(directory, source[field], object_data(objects, kind, source[field]))
            _write_fields(directory, source, pod)
        for path, token in tokens.of(volume["name"]).items():
            _put(directory, path, token)

    def mounted(self, container: Raw) -> Iterator[tuple[Raw, Path]]:
        """Yield each of a container's volume mounts with the file or directory that it shows."""
        for mount in container.get("volumeMounts") or ():
            path = self.volumes / _inside(mount["name"])
            if mount.get("subPath"):
                path = path / _inside(mount["subPath"])
                if not path.exists():
                    path.mkdir(mode=0o700, parents=True)
            yield mount, path

    def mounts(self, container: Raw) -> dict[str, str]:
        """Return the variables with the paths of a container's volumes and its termination message."""
        found = {"PROPELLER_TERMINATION_LOG": str(self.message(container["name"]))}
        for mount, directory in self.mounted(container):
            link = self.path / "root" / container["name"] / _inside(mount["mountPath"].strip("/"))
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(directory)
            found["PROPELLER_VOLUME_" + _NOT_IN_VARIABLES.sub("_", mount["name"].upper())] = str(directory)
        return found


def show_fields(volumes: Path, pod: Raw) -> None:
    """Write the pod's labels and annotations anew into those of its volumes that show them and are made."""
    for volume in pod["spec"].get("volumes") or ():
        directory = volumes / _inside(volume["name"])
        if directory.is_dir() and not directory.is_symlink():
            for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
                _write_fields(directory, source, pod)


def with_secrets(directory: PodDirectory, pod: Raw, container: Raw, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the paths by which a container's mounted Secrets are found here."""
    secrets = {volume["name"] for volume in pod["spec"].get("volumes") or () if volume.get("secret")}
    mounts = container.get("volumeMounts") or ()
    paths = [mount["mountPath"].rstrip("/") for mount in mounts if mount["name"] in secrets]
    if not paths:
        return dict(env)
    root = directory.path / "root" / container["name"]
    own = {variable["name"] for variable in container.get("env") or ()}
    return {
        name: str(root / value.lstrip("/")) if name in own and _leads_to(value, paths) else value
        for name, value in env.items()
    }


def _leads_to(value: str, paths: Sequence[str]) -> bool:
    """Whether the value is a path of two names or more that is one of `paths`, or is above or below one."""
    if not value.startswith("/") or value.count("/") < 2 or ".." in value.split("/"):
        return False
    return any(f"{value}/".startswith(f"{path}/") or f"{path}/".startswith(f"{value}/") for path in paths)


def _write(directory: Path, source: Raw, data: Mapping[str, bytes]) -> None:
    items = source.get("items")
    chosen = {item["path"]: item["key"] for item in items} if items else {key: key for key in data}
    for path, key in chosen.items():
        if key not in data:
            if source.get("optional"):
                continue
            raise Invalid(f"references non-existent key: {key}")
        _put(directory, path, data[key])


def _write_fields(directory: Path, source: Raw, pod: Raw) -> None:
    for item in (source.get("downwardAPI") or {}).get("items") or ():
        if "fieldRef" in item:
            _put(directory, item["path"], field_value(pod, item["fieldRef"].get("fieldPath", "")).encode())


def _put(directory: Path, path: str, content: bytes) -> None:
    target = directory / _inside(path)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(target, content)


def _inside(path: str) -> str:
    """Return the path; refuse it if it leads out of the pod's directory."""
    if path.startswith("/") or ".." in Path(path).parts:
        raise Invalid(f"{path!r} leads out of its volume")
    return path
