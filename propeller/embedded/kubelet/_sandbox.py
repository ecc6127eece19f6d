"""Enter a container's file system and become its program: what a container runtime does, without privileges.

Run by path in the container's own process, before its program: it uses nothing of propeller. The file system is the
image's, unpacked, if the spec has one (`enter_image`), otherwise this machine's with volumes in it (`enter_machine`).

Guarantees
    In an image, the program sees the image's files, its own changes over them (overlayfs), the volumes where its spec
    mounts them, and `/proc`, a few devices and the resolver's files of this machine; nothing else. With `read_only` it
    can write to writable volumes alone. It runs as `user` and `group`, without capabilities; on this machine it has the
    rights of the user who started the kubelet.
    On the machine, the program sees the machine's files as they are, and the volumes at their paths. No other process
    sees these. Of a directory that a volume hides (an emptyDir at /tmp), the entries stay that lead to `needs`, such as
    the kubelet's own directory. Directories above a path that the machine does not have are copies in memory: what the
    program writes there beside its volumes is gone with it.
Assumptions
    Linux 5.11 or newer, with user namespaces that this user may create. On the machine, root needs none.
Caveats
    Network, processes and time are those of the machine.
    In a user namespace on the machine the program keeps its user, but programs that change it (sudo) do not work.
Errors
    One line on standard error, and exit code 128, if the program could not be started.
"""

# pathlib would be one more import in every container.
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120, PTH123, PTH211

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

_DEVICES = ("full", "null", "random", "urandom", "zero")
_RESOLVER = ("/etc/hosts", "/etc/resolv.conf")

_libc = ctypes.CDLL(None, use_errno=True)


def enter_image(spec: dict[str, Any]) -> NoReturn:
    """Build the file system that `spec` describes, enter it, and execute the program. Raises OSError."""
    _become(spec["user"], spec["group"])
    root = _overlay(spec["image"], spec["scratch"])
    _bind("/proc", root + "/proc", recursive=True)
    _make_devices(root + "/dev")
    for path in _RESOLVER:
        if os.path.exists(path):
            _bind(path, root + path, read_only=True)
    for source, target, read_only in spec["mounts"]:
        _bind(source, root + target, read_only=read_only)
    if spec["read_only"]:
        _remount_read_only(root)
    os.chroot(root)
    os.chdir(spec["cwd"])
    os.execvpe(spec["argv"][0], spec["argv"], _variables(spec))  # noqa: S606 - the container's program


def enter_machine(spec: dict[str, Any]) -> NoReturn:
    """Mount the volumes, and execute the program. Raises OSError."""
    _unshare()
    mounts = sorted(spec["mounts"], key=lambda mount: str(mount[1]).count("/"))  # a volume before those in it
    targets = [target for _, target, _ in mounts]
    missing = [
        (source, target)
        for source, target, _ in mounts
        if not os.path.exists(target) and not any(_below(target, other) for other in targets)
    ]
    if missing:
        _enter_root_with(spec["scratch"], missing)
    for source, target, read_only in mounts:
        if (source, target) not in missing:
            _bind_over(source, target, spec["needs"])
        if read_only:
            _remount_read_only(target)
    os.chdir(spec["cwd"])
    os.execve(spec["executable"], spec["argv"], _variables(spec))  # noqa: S606 - the container's program


def _bind_over(source: str, target: str, needs: list[str]) -> None:
    """Mount a volume at a directory of the machine; of what it hides, those entries stay that lead to `needs`."""
    names = sorted({path[len(target) + 1 :].split("/")[0] for path in needs if _below(path, target)})
    held = []
    for name in names:
        path = os.path.join(target, name)
        if os.path.islink(path):
            held.append((path, os.readlink(path), -1))
        elif os.path.isdir(path):
            held.append((path, "", os.open(path, os.O_PATH)))
    _bind(source, target, recursive=True)
    for path, link, descriptor in held:
        if descriptor >= 0:
            _bind(f"/proc/self/fd/{descriptor}", path, recursive=True)
            os.close(descriptor)
        elif not os.path.lexists(path):
            os.symlink(link, path)


def _below(path: str, directory: str) -> bool:
    return path.startswith(directory + "/")


def _variables(spec: dict[str, Any]) -> dict[str, str]:
    """The container's own: Python adds to them when it starts."""
    return {name: os.environ[name] for name in spec["variables"]}


def _unshare() -> None:
    """Enter a mount namespace; if this user may not, in a user namespace of the same user. Raises OSError."""
    if _libc.unshare(_NEW_MOUNTS) == 0:
        _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    else:
        _become(os.geteuid(), os.getegid())


def _become(user: int, group: int) -> None:
    """Enter a user namespace in which our own user is `user`, and a mount namespace of its own. Raises OSError."""
    own_user, own_group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NEW_USER | _NEW_MOUNTS), "unshare")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {own_user} 1"),
        ("gid_map", f"{group} {own_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)


def _overlay(image: str, scratch: str) -> str:
    """Mount the image below a layer for changes; returns the root."""
    upper, work, root = (os.path.join(scratch, name) for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        os.makedirs(directory, exist_ok=True)
    _mount("overlay", root, "overlay", 0, f"lowerdir={image},upperdir={upper},workdir={work},userxattr")
    return root


def _make_devices(directory: str) -> None:
    os.makedirs(directory, exist_ok=True)
    _mount("tmpfs", directory, "tmpfs", 0, "mode=755")
    for name in _DEVICES:
        _bind(f"/dev/{name}", f"{directory}/{name}")
    os.mkdir(f"{directory}/shm")
    _mount("tmpfs", f"{directory}/shm", "tmpfs", 0, "")


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
                _bind(entry.path, at, recursive=True)
    for name, inner in tree.items():
        at = os.path.join(new, name)
        if isinstance(inner, str):
            _bind(inner, at, recursive=True)
        else:
            os.mkdir(at)
            _shadow(os.path.join(real, name), at, inner)


def _bind(source: str, target: str, *, read_only: bool = False, recursive: bool = False) -> None:
    """Mount a file or directory, at a place that is made if it is missing."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
    _mount(source, target, "", _BIND | (_RECURSIVE if recursive else 0))
    if read_only:
        _remount_read_only(target)


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
    """`_sandbox.py SPEC`, or `_sandbox.py probe`: exit with 0 if this user can mount."""
    if sys.argv[1] == "probe":
        try:
            _unshare()
            _mount("tmpfs", "/dev", "tmpfs", 0, "")
        except OSError:
            return CANNOT_START
        return 0
    given = json.loads(sys.argv[1])
    try:
        if "image" in given:
            enter_image(given)
        enter_machine(given)
    except OSError as error:
        step = f" ({error.filename})" if isinstance(error.filename, str) else ""  # the last path tried is bytes
        sys.stderr.write(f"exec {given['argv'][0]}: {error.strerror}{step}\n")
        return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
