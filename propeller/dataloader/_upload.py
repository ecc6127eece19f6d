"""Outputs from files: read by the types of the task's interface, blobs uploaded, all in `outputs.pb`.

The layout is FlyteCopilot's (flytecopilot/data/upload.go of Flyte 1.16): `<directory>/<output>`, with any extension;
more types than there: lists and maps are directories as the inputs', tables files or directories, unions what fits.

Guarantees
    Only regular files below the directory are read: a link would lead to files of the uploader, or to its credentials.
    `outputs.pb` is written last: if it is there, all that it refers to is. What exceeds a limit is refused.
Errors
    Invalid if the program wrote something else than its interface says, ProgramFailed if it wrote `_ERROR`;
    StorageError if the store failed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from propeller.dataloader._limits import Budget, Limits, require_name
from propeller.dataloader._patience import UPLOAD_PATIENCE, insist, together
from propeller.dataloader._texts import scalar_of_text
from propeller.errors import Invalid
from propeller.storage import Storage, uri_of
from propeller.text import bounded

ERROR_FILE = "_ERROR"
"""By which a program says why it failed, whatever its exit code is."""

_MAX_ERROR_BYTES = 1024 * 1024
"""FlyteCopilot's."""

_MAX_SHOWN = 20
"""Names that a message lists."""

_TABLE = "00000"
"""flytekit's name of a table's first file."""

_NONE = literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))


class ProgramFailed(Invalid):
    """The program says by `_ERROR` that it failed, and why."""


class _File(msgspec.Struct, frozen=True):
    where: str
    path: Path
    uri: str


class _Reading:
    """Reads values, and collects files for later."""

    def __init__(self, raw: str, limits: Limits, most: int) -> None:
        self.raw = raw.rstrip("/")
        self.budget = Budget(limits)
        self._most = most
        """Bytes of all values together: outputs.pb has them."""
        self._left = most
        self.files: list[_File] = []

    def literal(
        self, type_: types_pb2.LiteralType, path: Path, name: str, where: str, depth: int
    ) -> literals_pb2.Literal:
        """Return what is at the path, as a literal of this type; `name` is its place below the raw outputs."""
        self.budget.require_depth(where, depth)
        kind = type_.WhichOneof("type")
        if kind == "union_type":
            return self._union(type_.union_type, path, name, where, depth)
        found = _find(path, where)
        match kind:
            case "simple":
                return literals_pb2.Literal(scalar=self._simple(type_.simple, found, where))
            case "enum_type":
                text = self._text(found, where).strip()
                if text not in type_.enum_type.values:
                    raise Invalid(f"{where} is {text[:60]!r}, which is none of {list(type_.enum_type.values)}")
                return literals_pb2.Literal(scalar=scalar_of_text(types_pb2.STRING, text))
            case "blob":
                return literals_pb2.Literal(scalar=self._blob(type_.blob, found, name, where, depth))
            case "schema" | "structured_dataset_type":
                return literals_pb2.Literal(scalar=self._table(type_, found, name, where, depth))
            case "collection_type":
                items = self._items(type_.collection_type, found, name, where, depth)
                return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=items))
            case "map_value_type":
                values = {
                    entry.name: self.literal(
                        type_.map_value_type, entry, f"{name}/{entry.name}", f"{where}.{entry.name}", depth + 1
                    )
                    for entry in self._entries(found, where)
                }
                return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals=values))
            case _:
                raise Invalid(f"{where}: its type ({kind or 'none'}) cannot be read from files")

    def _union(self, type_: types_pb2.UnionType, path: Path, name: str, where: str, depth: int) -> literals_pb2.Literal:
        none = next((one for one in type_.variants if one.simple == types_pb2.NONE and one.HasField("simple")), None)
        if none is not None and _is_none(path, where):
            return _in_union(_NONE, none)
        reasons = []
        for variant in type_.variants:
            if variant is none:
                continue
            begun, left, files_left = len(self.files), self._left, self.budget.files_left
            try:
                return _in_union(self.literal(variant, path, name, where, depth), variant)
            except Invalid as error:
                del self.files[begun:]
                self._left, self.budget.files_left = left, files_left
                reasons.append(str(error))
        raise Invalid(f"{where} fits none of its types: {'; '.join(reasons)}")

    def _simple(self, kind: int, path: Path, where: str) -> literals_pb2.Scalar:
        if kind == types_pb2.BINARY:
            return literals_pb2.Scalar(binary=literals_pb2.Binary(value=self._bytes(path, where)))
        text = self._text(path, where)
        try:
            return scalar_of_text(kind, text)
        except Invalid as error:
            raise Invalid(f"{where}: {error}") from error

    def _text(self, path: Path, where: str) -> str:
        try:
            return self._bytes(path, where).decode()
        except UnicodeDecodeError as error:
            raise Invalid(f"{where} is no UTF-8: {error}") from error

    def _bytes(self, path: Path, where: str) -> bytes:
        with opened(path, where) as (file, size):
            self.budget.require_value(where, size)
            self.budget.take_file(where)
            if size > self._left:
                raise Invalid(
                    f"{where}: all values together have more than {self._most} bytes (storage.max_blob_bytes): pass "
                    "large ones as files (FlyteFile)"
                )
            self._left -= size
            return file.read(size)

    def _blob(self, type_: types_pb2.BlobType, path: Path, name: str, where: str, depth: int) -> literals_pb2.Scalar:
        wants_directory = type_.dimensionality == types_pb2.BlobType.MULTIPART
        if path.is_dir() != wants_directory:
            kinds = ("a directory", "a file") if wants_directory else ("a file", "a directory")
            raise Invalid(f"{where} is declared as {kinds[0]}, and {path} is {kinds[1]}")
        uri = f"{self.raw}/{name}"
        self._add(path, uri, where, depth)
        return literals_pb2.Scalar(blob=literals_pb2.Blob(metadata=literals_pb2.BlobMetadata(type=type_), uri=uri))

    def _table(
        self, type_: types_pb2.LiteralType, path: Path, name: str, where: str, depth: int
    ) -> literals_pb2.Scalar:
        uri = f"{self.raw}/{name}"
        self._add(path, uri if path.is_dir() else f"{uri}/{_TABLE}", where, depth)
        if type_.HasField("schema"):
            return literals_pb2.Scalar(schema=literals_pb2.Schema(uri=uri, type=type_.schema))
        metadata = literals_pb2.StructuredDatasetMetadata(structured_dataset_type=type_.structured_dataset_type)
        if not metadata.structured_dataset_type.format:
            metadata.structured_dataset_type.format = "parquet"
        return literals_pb2.Scalar(structured_dataset=literals_pb2.StructuredDataset(uri=uri, metadata=metadata))

    def _add(self, path: Path, uri: str, where: str, depth: int) -> None:
        if path.is_dir():
            for entry in self._entries(path, where):
                self.budget.require_depth(where, depth + 1)
                self._add(entry, f"{uri}/{entry.name}", where, depth + 1)
        else:
            self.budget.take_file(where)
            self.files.append(_File(where, path, uri_of(uri)))

    def _items(
        self, type_: types_pb2.LiteralType, path: Path, name: str, where: str, depth: int
    ) -> Iterator[literals_pb2.Literal]:
        entries = self._entries(path, where)
        items = {entry.name.partition(".")[0]: entry for entry in entries}
        if items.keys() != set(map(str, range(len(entries)))):
            shown = [entry.name for entry in entries[:_MAX_SHOWN]]
            raise Invalid(f"{where} is a list, whose items are files named 0, 1, 2 and so on; {path} has {shown}")
        for at in range(len(entries)):
            yield self.literal(type_, items[str(at)], f"{name}/{at}", f"{where}[{at}]", depth + 1)

    def _entries(self, path: Path, where: str) -> list[Path]:
        """Return what is in a directory, in order."""
        found = []
        if not path.is_dir():
            raise Invalid(f"{where}: {path} is a file, and a directory is expected")
        with os.scandir(path) as entries:
            for entry in entries:
                require_name(entry.name, f"{where}: a file")
                if entry.is_symlink():
                    raise Invalid(f"{where}: {entry.path} is a symbolic link: write the file itself")
                found.append(path / entry.name)
                if len(found) > self.budget.limits.files:
                    raise Invalid(f"{where} has more than {self.budget.limits.files} files (raw_containers.max_files)")
        return sorted(found)


class opened:  # noqa: N801 - used as a function
    """Open a regular file, as a context manager that gives it and its size. Raises Invalid for anything else."""

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where

    def __enter__(self) -> tuple[BinaryIO, int]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise _unreadable(error, self._path, self._where) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise Invalid(f"{self._where}: {self._path} is {kind}, and a file is expected")
        self._file = os.fdopen(descriptor, "rb")
        return self._file, status.st_size

    def __exit__(self, *_: object) -> None:
        self._file.close()


async def upload(
    storage: Storage,
    outputs: Mapping[str, interface_pb2.Variable],
    directory: Path,
    prefix: str,
    raw: str,
    limits: Limits,
) -> int:
    """Upload the outputs below `directory`: blobs below `raw` (a URI, or a path, as flytekit names local files), the
    values as `<prefix>/outputs.pb`. Return the bytes of blobs. Raises as the module says.
    """
    _raise_error_of(directory)
    reading = _Reading(raw, limits, storage.settings.max_blob_bytes)
    literals = {}
    for name in sorted(outputs):
        if require_name(name, "an output") == ERROR_FILE:
            raise Invalid(f"an output is named {ERROR_FILE}, the file by which a program says why it failed: rename it")
        try:
            literals[name] = reading.literal(outputs[name].type, directory / name, name, f"output {name!r}", 0)
        except OSError as error:
            raise _unreadable(error, directory / name, f"output {name!r}") from error
    before = reading.budget.bytes_left

    async def copy(one: _File) -> None:
        with opened(one.path, one.where) as (file, size):
            reading.budget.take_bytes(one.where, size)

            async def put() -> None:
                file.seek(0)
                await storage.put(one.uri, file, size)

            await insist(put, UPLOAD_PATIENCE)

    try:
        await together(copy(one) for one in reading.files)
    except OSError as error:
        raise _unreadable(error, directory, "an output") from error
    data = literals_pb2.LiteralMap(literals=literals).SerializeToString(deterministic=True)
    await insist(lambda: storage.write(f"{prefix}/outputs.pb", data), UPLOAD_PATIENCE)
    return before - reading.budget.bytes_left


def _raise_error_of(directory: Path) -> None:
    """Raise ProgramFailed with the text of `_ERROR`, if the program wrote one; Invalid if that cannot be read."""
    path = directory / ERROR_FILE
    if not _is_there(path, ERROR_FILE):
        return
    with opened(path, ERROR_FILE) as (file, size):
        if size > _MAX_ERROR_BYTES:
            raise Invalid(
                f"the program wrote {ERROR_FILE} of {size} bytes, of which at most {_MAX_ERROR_BYTES} are read"
            )
        text = file.read(_MAX_ERROR_BYTES).decode(errors="replace").strip()
    raise ProgramFailed(f"User Error: {bounded(text)}")


def _unreadable(error: OSError, path: Path, where: str) -> Invalid:
    """Return the error for a file that the program wrote so that the uploader cannot read it."""
    found = error.filename or path
    if isinstance(error, PermissionError):
        return Invalid(
            f"{where}: {found} is closed to other users: let the program open it (chmod a+r, a directory a+rx), or "
            "have the operator set raw_containers.user"
        )
    return Invalid(f"{where}: {found} cannot be read: {error.strerror or error}")


def _is_there(path: Path, where: str) -> bool:
    """Whether anything has this path. Raises Invalid if that cannot be known, as its directory is closed."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(error, path, where) from error
    return True


def _find(path: Path, where: str) -> Path:
    """Return the path of an output, with the extension that it has. Raises Invalid if there is none, or more."""
    if path.is_symlink():
        raise Invalid(f"{where}: {path} is a symbolic link: write the file itself")
    if path.exists():
        return path
    try:
        beside = sorted(one.name for one in path.parent.iterdir())
    except OSError as error:
        raise Invalid(f"{where}: {path.parent} cannot be read: {error.strerror}") from error
    found = [name for name in beside if name.startswith(f"{path.name}.") and not (path.parent / name).is_symlink()]
    if len(found) == 1:
        return path.parent / require_name(found[0], f"{where}: a file")
    if found:
        raise Invalid(f"{where} is ambiguous: {path.parent} has {found[:_MAX_SHOWN]}")
    raise Invalid(
        f"{where} is missing: the program ended without writing {path}; {path.parent} has {beside[:_MAX_SHOWN]}"
    )


def _is_none(path: Path, where: str) -> bool:
    """Whether the program has written nothing for an optional output, or null."""
    if not _is_there(path, where):
        try:
            return not any(entry.name.startswith(f"{path.name}.") for entry in path.parent.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return True
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= len("null\r\n") and _says_null(path)


def _says_null(path: Path) -> bool:
    with opened(path, str(path)) as (file, size):
        return file.read(size).strip() == b"null"


def _in_union(literal: literals_pb2.Literal, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=literal, type=type_)))
