"""Which URIs untrusted data may refer to: workflow resources, statuses and literals of tasks contain URIs, and the
controller reads them with permissions that their authors do not have.

Guarantees
    Allowed are URIs below `metadata_prefix`, `raw_output_prefix` or one of `read_prefixes`; in object stores, also the
    whole bucket of the first two, because FlyteAdmin keeps closures and inputs below its own prefix there.
    `.`, `..` and empty components are refused in every scheme.
Caveats
    The file store, not this module, ensures that no symbolic link leads out of a prefix, when it opens the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from propeller.errors import Invalid
from propeller.storage._options import StorageOptions
from propeller.storage._uri import file_path, scheme_of

PRIVATE = "memory"
"""The scheme of blobs that only this process has written."""


class ReadableUris:
    """See the module's text."""

    def __init__(self, settings: StorageOptions) -> None:
        own = (settings.metadata_prefix, settings.raw_output_prefix)
        prefixes = {*map(_bucket, own), *own, *settings.read_prefixes} - {""}
        self._prefixes = tuple(sorted(_directory(prefix) for prefix in prefixes))

    def require(self, uri: str, field: str) -> None:
        """Raise Invalid if the URI in the untrusted `field` is not allowed."""
        if scheme_of(uri) == PRIVATE:
            return
        if climbs(uri):
            raise Invalid(f"{field} is {uri!r}: its path may have no empty component, no '.' and no '..'")
        if not uri.startswith(self._prefixes):
            raise Invalid(
                f"{field} is {uri!r}, which is not below {', '.join(self._prefixes)}: add a prefix to "
                "storage.read_prefixes to let workflows have the controller read there"
            )


def file_roots(settings: StorageOptions) -> tuple[str, ...]:
    """The directories of the prefixes that are in files."""
    prefixes = (settings.metadata_prefix, settings.raw_output_prefix, *settings.read_prefixes)
    return tuple(_directory(file_path(prefix)) for prefix in prefixes if scheme_of(prefix) == "file")


def climbs(uri: str) -> bool:
    """Whether a path's components are not just names."""
    path = uri.partition("://")[2].removeprefix("/")
    return not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in uri


MAX_NAME = 100
"""Bytes. A directory is named by project, domain and name together, and file systems take 255; Flyte's own take 63."""


def require_names(names: Iterable[tuple[str, str]]) -> None:
    """Raise Invalid for a name, of a field, that cannot be a part of a path's component."""
    for field, name in names:
        if "/" in name or not name.isprintable():
            raise Invalid(
                f"{field} is {name!r}: it becomes part of a path, so it may have no '/' and no control character"
            )
        if len(name.encode()) > MAX_NAME:
            raise Invalid(
                f"{field} is {len(name.encode())} bytes long: it becomes part of a path, so {MAX_NAME} at most"
            )


def _directory(prefix: str) -> str:
    return prefix.rstrip("/") + "/"


def _bucket(prefix: str) -> str:
    """The whole bucket of an object store's prefix; "" for files."""
    scheme = scheme_of(prefix)
    if scheme in {"", "file"}:
        return ""
    return f"{scheme}://{prefix.partition('://')[2].partition('/')[0]}"
