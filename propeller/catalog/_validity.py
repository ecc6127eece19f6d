"""Check cached outputs before they are used: anyone who may write to the bucket may have written them."""

from __future__ import annotations

from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from propeller.compiler import literal_fits
from propeller.errors import CorruptBlob
from propeller.text import NAME_CHARACTERS, bounded
from propeller.wire import Literals, parse

MAX_URIS = 100
"""Files of one entry that are looked for: a list of a million files must not cost as many requests."""


def check_outputs(
    outputs: Literals, interface: interface_pb2.VariableMap, most: int, *, is_item: bool = False
) -> list[str]:
    """Check that each declared output is there, alone and of its type, and return the URIs of files that they refer to,
    at most `MAX_URIS`. CPU-bound; `most` limits how many messages of an output are parsed. `is_item`: they are those of
    one item of a map task, which flytekit declares as lists. Raises CorruptBlob.
    """
    declared = interface.variables
    if (given := set(outputs.raw)) != set(declared):
        differing = ", ".join(sorted(bounded(name, NAME_CHARACTERS) for name in given ^ set(declared))[:5])
        raise CorruptBlob(f"its outputs are not those of the task: {differing}")
    uris: list[str] = []
    for name in sorted(declared):
        literal = parse(literals_pb2.Literal, outputs.raw[name].tobytes(), most, f"output {name!r}")
        if not _fits(literal, declared[name].type, is_item=is_item):
            raise CorruptBlob(f"its output {name!r} is not of the task's type")
        _collect_uris(literal, uris)
    return uris


def _fits(literal: literals_pb2.Literal, declared: types_pb2.LiteralType, *, is_item: bool) -> bool:
    if is_item and declared.WhichOneof("type") == "collection_type" and literal_fits(literal, declared.collection_type):
        return True
    return literal_fits(literal, declared)


def _collect_uris(literal: literals_pb2.Literal, uris: list[str]) -> None:
    open_literals = [literal]
    while open_literals and len(uris) < MAX_URIS:
        one = open_literals.pop()
        match one.WhichOneof("value"):
            case "collection":
                open_literals.extend(one.collection.literals)
            case "map":
                open_literals.extend(one.map.literals[key] for key in one.map.literals)
            case "offloaded_metadata":
                uris.append(one.offloaded_metadata.uri)
            case "scalar":
                kind = one.scalar.WhichOneof("value")
                if kind == "union":
                    open_literals.append(one.scalar.union.value)
                elif kind in {"blob", "schema", "structured_dataset"}:
                    uris.append(getattr(one.scalar, kind).uri)
