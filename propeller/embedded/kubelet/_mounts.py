"""Show volumes at a container's paths in this machine's own root, then become its program.

Run by path in the container's own process, before its program: it uses nothing of propeller.

Guarantees
    The program sees the machine's files as they are, and the volumes at their paths. No other process sees these.
    Directories above a path that the machine does not have are copies in memory: what the program writes
    there beside its volumes is gone with it.
Assumptions
    Linux, and the right to mount: root's, or user namespaces that this user may create.
Caveats
    In a user namespace the program keeps its user, but programs that change it (sudo) do not work.
Errors
    One line on standard error, and exit code 128, if the program could not be started.
"""

# pathlib would be one more import in every container.
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH115, PTH118, PTH123, PTH211

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any, NoReturn

CANNOT_START = 128
"""containerd's exit code for a container whose program could not be executed."""

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE = 1, 32, 4096, 16384
_UNBINDABLE, _PRIVATE, _RELATIVE_TIMES = 1 << 17, 1 << 18, 1 << 21
_LOCKED = 2 | 4 | 8 | 1024 | 2048
"""nosuid, nodev, noexec, noatime, nodiratime: a mount that a user namespace inherits keeps them."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter(spec: dict[str, Any]) -> NoReturn:
    """Mount the volumes, and execute the program. Raises OSError."""
    unshare()
    missing = [(source, target) for source, target, _ in spec["mounts"] if not os.path.exists(target)]
    if missing:
        _enter_root_with(spec["scratch"], missing)
    for source, target, read_only in spec["mounts"]:
        if (source, target) not in missing:
            _bind(source, target)
        if read_only:
            _remount_read_only(target)
    os.chdir(spec["cwd"])
    env = {name: os.environ[name] for name in spec["variables"]}  # Python adds to them when it starts
    os.execve(spec["executable"], spec["argv"], env)  # noqa: S606 - the container's program


def unshare() -> None:
    """Enter a mount namespace; if this user may not, in a user namespace of the same user. Raises OSError."""
    if _libc.unshare(_NEW_MOUNTS) != 0:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_NEW_USER | _NEW_MOUNTS), "unshare")
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)


def _enter_root_with(scratch: str, missing: list[tuple[str, str]]) -> None:
    """Enter a root that has these volumes besides everything that the machine's has."""
    tree: dict[str, Any] = {}
    for source, target in missing:
        *above, last = target.strip("/").split("/")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise OSError(20, "a volume is mounted in another one, below a path that this machine lacks", target)
        place[last] = source
    os.makedirs(scratch, exist_ok=True)
    _shadow("/", scratch, tree)
    os.chroot(scratch)


def _shadow(real: str, new: str, tree: dict[str, Any]) -> None:
    """Make a directory in memory with what `real` has, if it is there, and the volumes of `tree`."""
    _mount("tmpfs", new, "tmpfs", 0, "mode=755")
    _mount("none", new, "", _UNBINDABLE)  # or what holds the scratch directory would be copied into itself
    if os.path.isdir(real):
        for entry in os.scandir(real):
            if entry.name in tree:
                continue
            at = os.path.join(new, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), at)
            else:
                _bind(entry.path, at)
    for name, inner in tree.items():
        at = os.path.join(new, name)
        if isinstance(inner, str):
            _bind(inner, at)
        else:
            os.mkdir(at)
            _shadow(os.path.join(real, name), at, inner)


def _bind(source: str, target: str) -> None:
    """Mount a file or directory, at a place that is made if it is missing."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        with open(target, "w"):
            pass
    _mount(source, target, "", _BIND | _RECURSIVE)


def _remount_read_only(path: str) -> None:
    flags = os.statvfs(path).f_flag
    kept = flags & _LOCKED | (_RELATIVE_TIMES if flags & os.ST_RELATIME else 0)
    _mount("none", path, "", _REMOUNT | _BIND | _READ_ONLY | kept)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def main() -> int:
    """`_mounts.py SPEC`, or `_mounts.py probe`: exit with 0 if this user can mount."""
    if sys.argv[1] == "probe":
        try:
            unshare()
            _mount("tmpfs", "/dev", "tmpfs", 0, "")
        except OSError:
            return CANNOT_START
        return 0
    given = json.loads(sys.argv[1])
    try:
        enter(given)
    except OSError as error:
        step = f" ({error.filename})" if isinstance(error.filename, str) else ""
        sys.stderr.write(f"exec {given['argv'][0]}: {error.strerror}{step}\n")
        return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
