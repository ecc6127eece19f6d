"""Python values as literals, in each form that flytekit has for them, and back."""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format, struct_pb2
from hypothesis import strategies as st

from propeller.wire import Slice, whole

Literal = literals_pb2.Literal


def literal(value: Any) -> Literal:
    """Lists and dicts as collections and maps, the rest as primitives."""
    found = Literal()
    match value:
        case None:
            found.scalar.none_type.SetInParent()
        case bool():
            found.scalar.primitive.boolean = value
        case int():
            found.scalar.primitive.integer = value
        case float():
            found.scalar.primitive.float_value = value
        case str():
            found.scalar.primitive.string_value = value
        case list():
            found.collection.SetInParent()
            found.collection.literals.extend(literal(item) for item in value)
        case dict():
            found.map.SetInParent()
            for key, item in value.items():
                found.map.literals[key].CopyFrom(literal(item))
        case Literal():
            return value
        case _:
            raise TypeError(type(value))
    return found


def struct(value: dict[str, Any]) -> Literal:
    """A protobuf struct: flytekit before 1.14, and dicts without types."""
    found = Literal()
    found.scalar.generic.CopyFrom(json_format.ParseDict(value, struct_pb2.Struct()))
    return found


def msgpack(value: Any) -> Literal:
    """A dataclass of flytekit 1.14 and later."""
    return binary(msgspec.msgpack.encode(value))


def binary(data: bytes, tag: str = "msgpack") -> Literal:
    found = Literal()
    found.scalar.binary.value = data
    found.scalar.binary.tag = tag
    return found


def union(value: Literal) -> Literal:
    """An Optional or a Union."""
    found = Literal()
    found.scalar.union.value.CopyFrom(value)
    found.scalar.union.type.simple = types_pb2.STRING
    return found


def offloaded(uri: str, size: int = 0, value_hash: str = "") -> Literal:
    found = Literal(hash=value_hash)
    found.offloaded_metadata.uri = uri
    found.offloaded_metadata.size_bytes = size
    return found


def wired(of: Literal) -> Slice:
    """A literal as it is in a blob."""
    return whole(of.SerializeToString())


def parsed(of: Slice) -> Literal:
    return Literal.FromString(of.tobytes())


def python(of: Literal | Slice) -> Any:
    """The value of a literal in any form."""
    if isinstance(of, Slice):
        return python(parsed(of))
    match of.WhichOneof("value"):
        case "collection":
            return [python(item) for item in of.collection.literals]
        case "map":
            return {key: python(item) for key, item in of.map.literals.items()}
    scalar = of.scalar
    match scalar.WhichOneof("value"):
        case "primitive":
            return getattr(scalar.primitive, scalar.primitive.WhichOneof("value") or "")
        case "generic":
            return json_format.MessageToDict(scalar.generic)
        case "binary":
            return msgspec.msgpack.decode(scalar.binary.value)
        case "none_type":
            return None
        case "union":
            return python(scalar.union.value)
    raise TypeError(of)


def attribute(step: str | int) -> types_pb2.PromiseAttribute:
    if isinstance(step, int):
        return types_pb2.PromiseAttribute(int_value=step)
    return types_pb2.PromiseAttribute(string_value=step)


def promise(node: str, variable: str, *path: str | int) -> literals_pb2.BindingData:
    found = literals_pb2.BindingData()
    found.promise.node_id = node
    found.promise.var = variable
    found.promise.attr_path.extend(map(attribute, path))
    return found


def bound(value: Any) -> literals_pb2.BindingData:
    """A binding of constants and promises, which may be within lists and dicts."""
    found = literals_pb2.BindingData()
    match value:
        case literals_pb2.BindingData():
            return value
        case list():
            found.collection.SetInParent()
            found.collection.bindings.extend(bound(item) for item in value)
        case dict():
            found.map.SetInParent()
            for key, item in value.items():
                found.map.bindings[key].CopyFrom(bound(item))
        case _:
            found.scalar.CopyFrom(literal(value).scalar)
    return found


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@st.composite
def trees_with_paths(draw: st.DrawFn) -> tuple[Any, list[str | int], Any]:
    """A value, a path into it, and what is there."""
    tree = draw(st.dictionaries(st.text(max_size=4), trees, min_size=1, max_size=4))
    path: list[str | int] = []
    value: Any = tree
    while isinstance(value, list | dict) and value and (not path or draw(st.booleans())):
        step: Any = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        path.append(step)
        value = value[step]
    return tree, path, value
