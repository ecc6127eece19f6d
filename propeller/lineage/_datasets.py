"""Datasets in literals: files, directories and tables, named as OpenLineage names them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import msgspec
from flyteidl.core import literals_pb2, types_pb2

from propeller.redaction import shown_url
from propeller.text import NAME_CHARACTERS, bounded
from propeller.wire import Literals, parse

MAX_DATASETS = 100
"""Of the inputs, and of the outputs, of one run: a list of a million files is not a million datasets."""

MAX_COLUMNS = 500
"""Of one dataset."""

_KINDS = {kind.number: kind.name.lower() for kind in types_pb2.SimpleType.DESCRIPTOR.values}
_COLUMNS = {
    kind.number: kind.name.lower() for kind in types_pb2.SchemaType.SchemaColumn.SchemaColumnType.DESCRIPTOR.values
}


class Dataset(msgspec.Struct, frozen=True):
    """`columns` are names and types; `format` is empty if it is not known."""

    namespace: str
    name: str
    format: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def datasets_of(literals: Literals, most: int) -> list[Dataset]:
    """The datasets that literals refer to, at most `MAX_DATASETS`, each once. CPU-bound; `most` limits how many
    messages of a literal are parsed. Raises CorruptBlob.
    """
    found: dict[tuple[str, str], Dataset] = {}
    for name in sorted(literals.raw):
        literal = parse(literals_pb2.Literal, literals.raw[name].tobytes(), most, f"literal {name!r}")
        for dataset in _walk(literal):
            found.setdefault((dataset.namespace, dataset.name), dataset)
            if len(found) >= MAX_DATASETS:
                return list(found.values())
    return list(found.values())


def _walk(literal: literals_pb2.Literal) -> Iterator[Dataset]:
    open_literals = [literal]
    while open_literals:
        one = open_literals.pop()
        match one.WhichOneof("value"):
            case "collection":
                open_literals.extend(reversed(one.collection.literals))
            case "map":
                open_literals.extend(one.map.literals[key] for key in sorted(one.map.literals, reverse=True))
            case "scalar":
                if one.scalar.WhichOneof("value") == "union":
                    open_literals.append(one.scalar.union.value)
                elif (dataset := _of_scalar(one.scalar)) is not None:
                    yield dataset


def _of_scalar(scalar: literals_pb2.Scalar) -> Dataset | None:
    match scalar.WhichOneof("value"):
        case "blob":
            return _named(scalar.blob.uri, scalar.blob.metadata.type.format)
        case "schema":
            columns = [(one.name, _COLUMNS.get(one.type, "")) for one in scalar.schema.type.columns[:MAX_COLUMNS]]
            return _named(scalar.schema.uri, "parquet", columns)
        case "structured_dataset":
            of = scalar.structured_dataset.metadata.structured_dataset_type
            kinds = [(one.name, _kind(one.literal_type)) for one in of.columns[:MAX_COLUMNS]]
            return _named(scalar.structured_dataset.uri, of.format, kinds)
        case _:
            return None


def _kind(of: types_pb2.LiteralType) -> str:
    which = of.WhichOneof("type")
    return _KINDS.get(of.simple, "") if which == "simple" else (which or "")


def _named(uri: str, format_: str, columns: list[tuple[str, str]] | None = None) -> Dataset | None:
    """As https://openlineage.io/docs/spec/naming says: the namespace is the store, the name the path in it. What signs
    a URL is left out.
    """
    if not uri:
        return None
    scheme, _, rest = shown_url(uri).rpartition("://") if "://" in uri else ("file", "", uri)
    authority, _, path = rest.partition("/")
    namespace = f"{scheme}://{authority}" if authority and scheme != "file" else scheme
    name = f"/{path}" if scheme == "file" else unquote(path) or "/"
    if scheme == "file" and authority:
        name = f"/{authority}/{path}"  # a path without a scheme
    shown = tuple((bounded(column, NAME_CHARACTERS), kind) for column, kind in columns or ())
    return Dataset(bounded(namespace, NAME_CHARACTERS), bounded(name), bounded(format_, NAME_CHARACTERS), shown)
