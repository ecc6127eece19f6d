"""Inputs to files: one file per value, a directory per list or map, the content of blobs.

The layout is FlyteCopilot's (flytecopilot/data/download.go of Flyte 1.16): `<directory>/<input>`, items of lists by
their number, entries of maps by their key; all values again in `inputs.pb`, with local paths in the place of URIs, and
in `inputs.json` or `inputs.yaml` if the task asks for one.

Guarantees
    Nothing is written outside of the directory, whatever inputs, keys and objects are named. What exceeds a limit is
    refused, not truncated. Blobs are listed and copied four at once, whichever input they are of.
Errors
    Invalid for what a retry does not mend (a name, a limit, a blob that is not there); StorageError for what it may.
"""

from __future__ import annotations

import base64
import datetime
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from flyteidl.core import literals_pb2, tasks_pb2, types_pb2

from propeller.dataloader._http import fetch_http, is_http
from propeller.dataloader._limits import Budget, Limits, require_name
from propeller.dataloader._patience import DOWNLOAD_PATIENCE, insist, together
from propeller.dataloader._texts import json_of_primitive, text_of_primitive
from propeller.errors import CorruptBlob, Invalid, MissingBlob
from propeller.redaction import shown_url
from propeller.storage import Storage, read_offloaded, struct_to_python, uri_of
from propeller.wire import parse, whole

_TOO_MANY = "(raw_containers.max_files)"
_SUMMARIES = ("inputs.pb", "inputs.json", "inputs.yaml")


class _Blob(msgspec.Struct, frozen=True):
    where: str
    uri: str
    target: Path
    is_directory: bool


class _Layout:
    """Writes small values, and collects blobs for later."""

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self.storage = storage
        self.budget = Budget(limits)
        self.blobs: list[_Blob] = []

    async def literal(self, literal: literals_pb2.Literal, path: Path, where: str, depth: int) -> Any:
        """Write a literal, change its URIs to local paths, and return its value for JSON."""
        self.budget.require_depth(where, depth)
        match literal.WhichOneof("value"):
            case "scalar":
                return await self._scalar(literal.scalar, path, where, depth)
            case "collection":
                _make(path)
                items = enumerate(literal.collection.literals)
                return [await self.literal(item, path / str(at), f"{where}[{at}]", depth + 1) for at, item in items]
            case "map":
                _make(path)
                found = {}
                for key in sorted(literal.map.literals):
                    name = require_name(key, f"an entry of {where}")
                    found[key] = await self.literal(literal.map.literals[key], path / name, f"{where}.{key}", depth + 1)
                return found
            case "offloaded_metadata":
                raw = await read_offloaded(self.storage, whole(literal.SerializeToString()))
                most = self.storage.settings.max_messages
                literal.CopyFrom(parse(literals_pb2.Literal, raw.tobytes(), most, where, "storage.max_messages"))
                return await self.literal(literal, path, where, depth + 1)
            case kind:
                raise Invalid(f"{where} is a {kind or 'literal without a value'}, which cannot be a file")

    async def _scalar(self, scalar: literals_pb2.Scalar, path: Path, where: str, depth: int) -> Any:
        match scalar.WhichOneof("value"):
            case "primitive":
                try:
                    value = json_of_primitive(scalar.primitive)
                    self._write(path, text_of_primitive(scalar.primitive).encode(errors="surrogatepass"), where)
                except Invalid as error:
                    raise Invalid(f"{where}: {error}") from None
                return value
            case "blob":
                multipart = scalar.blob.metadata.type.dimensionality == types_pb2.BlobType.MULTIPART
                return self._blob(scalar.blob, path, where, is_directory=multipart)
            case "schema":
                return self._blob(scalar.schema, path, where, is_directory=True)
            case "structured_dataset":
                return self._blob(scalar.structured_dataset, path, where, is_directory=True)
            case "union":
                return await self.literal(scalar.union.value, path, where, depth)
            case "none_type":
                self._write(path, b"null", where)
                return None
            case "error":
                self._write(path, scalar.error.message.encode(), where)
                return scalar.error.message
            case "generic":
                found = struct_to_python(scalar.generic, where)
                self._write(path, _json(found).encode(), where)
                return found
            case "binary":
                self._write(path, scalar.binary.value, where)
                return _json_of_binary(scalar.binary, where)
            case kind:
                raise Invalid(f"{where} is a {kind or 'scalar without a value'}, which cannot be a file")

    def _blob(self, blob: Any, path: Path, where: str, *, is_directory: bool) -> str:
        if not blob.uri:
            raise Invalid(f"{where} is a blob without a URI")
        self.blobs.append(_Blob(where, uri_of(blob.uri), path, is_directory))
        blob.uri = str(path)
        return str(path)

    def _write(self, path: Path, data: bytes, where: str) -> None:
        self.budget.take_file(where)
        self.budget.take_bytes(where, len(data))
        path.write_bytes(data)


async def download(
    storage: Storage, inputs: str, directory: Path, form: tasks_pb2.DataLoadingConfig.LiteralMapFormat, limits: Limits
) -> int:
    """Write the inputs whose document is at the URI `inputs`; return the bytes of blobs. Raises as the module says; the
    directory may then be written in part.
    """
    data = await insist(lambda: storage.read(inputs), DOWNLOAD_PATIENCE)
    literals = parse(literals_pb2.LiteralMap, data, storage.settings.max_messages, inputs, "storage.max_messages")
    layout = _Layout(storage, limits)
    try:
        return await _lay_out(layout, literals, directory, form)
    except OSError as error:
        raise Invalid(f"{error.filename or directory} cannot be written: {error.strerror or error}") from error


async def _lay_out(
    layout: _Layout,
    literals: literals_pb2.LiteralMap,
    directory: Path,
    form: tasks_pb2.DataLoadingConfig.LiteralMapFormat,
) -> int:
    _make_empty(directory)
    values = {}
    for name in sorted(literals.literals):
        if require_name(name, "an input") in _SUMMARIES:
            raise Invalid(f"an input is named {name!r}, which is the file of all inputs: give it another name")
        values[name] = await layout.literal(literals.literals[name], directory / name, f"input {name!r}", 0)
    before = layout.budget.bytes_left
    await _copy(layout)
    (directory / "inputs.pb").write_bytes(literals.SerializeToString(deterministic=True))
    match form:
        case tasks_pb2.DataLoadingConfig.JSON:
            (directory / "inputs.json").write_text(_json(values), encoding="utf-8")
        case tasks_pb2.DataLoadingConfig.YAML:
            (directory / "inputs.yaml").write_text(_yaml(values), encoding="utf-8")
    return before - layout.budget.bytes_left


def _make(path: Path) -> None:
    path.mkdir()


def _make_empty(directory: Path) -> None:
    """Create the directory, or remove what is in it: the kubelet may start the container again."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


async def _copy(layout: _Layout) -> None:
    async def copy(blob: _Blob, uri: str, target: Path) -> None:
        async def fetch() -> int:
            with target.open("wb") as file:
                fetching = fetch_http if is_http(uri) else layout.storage.fetch
                return await fetching(uri, file, layout.budget.bytes_left)

        layout.budget.take_file(blob.where)
        try:
            size = await insist(fetch, DOWNLOAD_PATIENCE)
        except MissingBlob as error:
            raise Invalid(f"{blob.where}: {error}") from error
        except CorruptBlob as error:
            raise Invalid(f"{blob.where}: {error} (raw_containers.max_bytes)") from error
        layout.budget.take_bytes(blob.where, size)

    copies: list[tuple[_Blob, str, Path]] = []

    async def look(blob: _Blob) -> None:
        found = await insist(lambda: _files_of(blob, layout), DOWNLOAD_PATIENCE)
        if len(copies) + len(found) > layout.budget.limits.files:
            raise Invalid(f"{blob.where}: all inputs have more than {layout.budget.limits.files} files {_TOO_MANY}")
        copies.extend((blob, uri, target) for uri, target in found)

    await together(look(blob) for blob in layout.blobs)
    await together(copy(*one) for one in copies)


async def _files_of(blob: _Blob, layout: _Layout) -> list[tuple[str, Path]]:
    """Return what is to be copied where, in directories that are made."""
    if is_http(blob.uri) and blob.is_directory:
        raise Invalid(f"{blob.where} is a directory at {shown_url(blob.uri)}: files of a URL cannot be listed")
    if not blob.is_directory:
        return [(blob.uri, blob.target)]
    prefix = f"{blob.uri.rstrip('/')}/"
    limits = layout.budget.limits
    found = await layout.storage.list_blobs(prefix, limits.files + 1)
    if len(found) > limits.files:
        raise Invalid(f"{blob.where}: {prefix} has more than {limits.files} files {_TOO_MANY}")
    if not found:
        return [(blob.uri, blob.target)]  # a table in one file; an empty directory is none in an object store
    made: set[Path] = set()
    copies = []
    for uri in found:
        parts = uri.removeprefix(prefix).split("/")
        if parts[-1] == "":
            continue  # the object that stands for a directory
        for part in parts:
            require_name(part, f"{blob.where}: {uri}")
        layout.budget.require_depth(blob.where, len(parts))
        target = blob.target.joinpath(*parts)
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        copies.append((uri, target))
    return copies


def _json_of_binary(binary: literals_pb2.Binary, where: str) -> Any:
    """Return a dataclass or untyped dict (flytekit 1.14 and later: msgpack) as JSON, other bytes as base64."""
    if binary.tag != "msgpack":
        return base64.b64encode(binary.value).decode()
    try:
        return _plain(msgspec.msgpack.decode(binary.value))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise Invalid(f"{where} has {len(binary.value)} bytes that are not msgpack: {error}") from error


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime.datetime():  # msgpack's own extension
            return value.isoformat()
        case msgspec.msgpack.Ext():
            return base64.b64encode(value.data).decode()
    return value


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise Invalid(
            f"an input holds a number that JSON does not have: choose the metadata format PROTO ({error})"
        ) from error


def _yaml(values: Any) -> str:
    import yaml

    try:
        text: str = yaml.safe_dump(values, allow_unicode=True, sort_keys=True)
    except RecursionError as error:
        raise Invalid("an input nests too deep for YAML: choose the metadata format JSON or PROTO") from error
    return text
