"""What may be copied: names that are one component of a path, and numbers of bytes, files and levels."""

from __future__ import annotations

import msgspec

from propeller.errors import Invalid

MAX_NAME_BYTES = 255
"""Of a component of a path: Linux's NAME_MAX."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of all inputs, or all outputs, of one task."""

    bytes: int
    files: int
    depth: int
    value_bytes: int


class Budget:
    """What is left of the limits. Raises Invalid where something would be over one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes_left = limits.bytes
        self.files_left = limits.files

    def take_file(self, where: str) -> None:
        if not self.files_left:
            raise Invalid(
                f"{where}: there are more than {self.limits.files} files (raw_containers.max_files): put them into an "
                "archive"
            )
        self.files_left -= 1

    def take_bytes(self, where: str, size: int) -> None:
        if size > self.bytes_left:
            raise Invalid(
                f"{where}: all files together have more than {self.limits.bytes} bytes (raw_containers.max_bytes)"
            )
        self.bytes_left -= size

    def require_depth(self, where: str, depth: int) -> None:
        if depth > self.limits.depth:
            raise Invalid(
                f"{where} nests more than {self.limits.depth} directories (raw_containers.max_depth): put them into an "
                "archive"
            )

    def require_value(self, where: str, size: int) -> None:
        if size > self.limits.value_bytes:
            raise Invalid(
                f"{where} has {size} bytes, and a value may have {self.limits.value_bytes} "
                "(raw_containers.max_value_bytes): pass it as a file (FlyteFile)"
            )


def require_name(name: str, what: str) -> str:
    """Return a name that a task or its author chose. Raises Invalid unless it is one component of a path."""
    if name in {"", ".", ".."} or "/" in name or not name.isprintable():
        raise Invalid(
            f"{what} is named {name!r}: it becomes a file of that name, so it may not be '.' or '..', nor have a '/' "
            "or a control character"
        )
    if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        raise Invalid(
            f"{what} is named {name[:40]!r}...: it becomes a file, whose name has {MAX_NAME_BYTES} bytes at most"
        )
    return name
