"""Copy the files that literals refer to: what a task wrote may name any URI, and no path of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from flyteidl.core import literals_pb2, types_pb2

from propeller.errors import Invalid, PropellerError
from propeller.storage import Storage, uri_of

MAX_FILES = 10_000
"""Files of one directory, and of all that is downloaded at once."""

MAX_BYTES = 2 << 30
"""Of one file: more than a person waits for without a tool that shows how far it is."""

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class Download(msgspec.Struct, frozen=True):
    """A file that was copied, or could not be: `error` says why."""

    uri: str
    path: str | None
    error: str | None = None


class _Reference(msgspec.Struct, frozen=True):
    where: str
    """Names and indexes of the values around it."""
    uri: str
    is_directory: bool


async def download(literals: literals_pb2.LiteralMap, storage: Storage, directory: Path) -> list[Download]:
    """Copy files and directories of these values to `directory`, each under the name of its value. One that fails does
    not keep the others. Raises PropellerError if the directory cannot be written.
    """
    done: list[Download] = []
    free = _FreePaths()
    for reference in _references(literals):
        target = directory / reference.where
        for uri, path in await _files_of(reference, storage, target):
            if len(done) == MAX_FILES:
                raise PropellerError(f"there are more than {MAX_FILES} files: copy the others with a tool of the store")
            done.append(await _copy(uri, free.take(path), storage))
    return done


class _FreePaths:
    """Gives each file a path of its own: names that differ may be the same as components of a path."""

    def __init__(self) -> None:
        self._taken: dict[Path, int] = {}
        """How often each path was asked for."""

    def take(self, path: Path) -> Path:
        """Return the path, or one beside it, such as `f~2.csv` for `f.csv`."""
        found = path
        while (times := self._taken.get(found, 0)) > 0:
            self._taken[found] = times + 1
            found = path.with_name(f"{path.stem}~{times + 1}{path.suffix}")
        self._taken[found] = 1
        return found


def _references(literals: literals_pb2.LiteralMap) -> Iterator[_Reference]:
    open_values = [(component(name), literals.literals[name]) for name in sorted(literals.literals, reverse=True)]
    while open_values:
        where, literal = open_values.pop()
        match literal.WhichOneof("value"):
            case "collection":
                open_values.extend((f"{where}/{at}", one) for at, one in enumerate(literal.collection.literals))
            case "map":
                values = literal.map.literals
                open_values.extend((f"{where}/{component(key)}", values[key]) for key in sorted(values))
            case "scalar":
                scalar = literal.scalar
                kind = scalar.WhichOneof("value")
                if kind == "union":
                    open_values.append((where, scalar.union.value))
                elif kind == "blob":
                    multipart = types_pb2.BlobType.MULTIPART
                    is_directory = scalar.blob.metadata.type.dimensionality == multipart
                    yield _Reference(where, scalar.blob.uri, is_directory)
                elif kind in {"schema", "structured_dataset"}:
                    yield _Reference(where, getattr(scalar, kind).uri, is_directory=True)


def component(name: str) -> str:
    """A name as one component of a path."""
    found = _NOT_A_NAME.sub("_", name)[:100].lstrip(".")
    return found or "_"


async def _files_of(reference: _Reference, storage: Storage, target: Path) -> list[tuple[str, Path]]:
    uri = uri_of(reference.uri)
    name = component(uri.rstrip("/").rpartition("/")[2])
    if not reference.is_directory:
        return [(uri, target / name)]
    prefix = f"{uri.rstrip('/')}/"
    try:
        found = await storage.list_blobs(prefix, MAX_FILES + 1)
    except PropellerError:
        return [(uri, target / name)]  # its copy fails by the same, and says so
    inside = [one for one in found if not one.endswith("/")]  # without objects that stand for directories
    if not inside:
        return [(uri, target / name)]  # a table in one file
    return [(one, target.joinpath(*map(component, one.removeprefix(prefix).split("/")))) for one in inside]


async def _copy(uri: str, path: Path, storage: Storage) -> Download:
    try:
        await write_file(uri, path, storage)
    except PropellerError as error:
        return Download(uri, None, str(error))
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:  # a file has the name of a directory
        return Download(uri, None, f"{path} cannot be written: {error.strerror}")
    except OSError as error:
        raise unwritable(path, error) from error
    return Download(uri, str(path))


async def write_file(uri: str, path: Path, storage: Storage) -> None:
    """Copy a blob to a file, in pieces. Raises PropellerError, and OSError; then the file is what it was before."""
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            await storage.fetch(uri, file, MAX_BYTES)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> Invalid:
    """The error for a file that cannot be written."""
    return Invalid(f"{path} cannot be written: {error.strerror}; name another directory with --download")
