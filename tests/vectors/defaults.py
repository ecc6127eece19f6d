"""The inputs that the goldens were made with: a default literal for each variable, at every depth."""

from __future__ import annotations

from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

_PRIMITIVES: dict[int, literals_pb2.Primitive] = {
    types_pb2.INTEGER: literals_pb2.Primitive(integer=0),
    types_pb2.FLOAT: literals_pb2.Primitive(float_value=0.0),
    types_pb2.STRING: literals_pb2.Primitive(string_value=""),
    types_pb2.BOOLEAN: literals_pb2.Primitive(boolean=False),
    types_pb2.DATETIME: literals_pb2.Primitive(datetime=timestamp_pb2.Timestamp(nanos=10_000)),
    types_pb2.DURATION: literals_pb2.Primitive(duration=duration_pb2.Duration(seconds=1)),
}


def default_inputs(interface: interface_pb2.TypedInterface) -> literals_pb2.LiteralMap:
    variables = interface.inputs.variables
    return literals_pb2.LiteralMap(literals={name: default_literal(variables[name].type) for name in variables})


def default_literal(kind: types_pb2.LiteralType) -> literals_pb2.Literal:
    match kind.WhichOneof("type"):
        case "simple":
            return literals_pb2.Literal(scalar=_simple(kind.simple))
        case "blob":
            metadata = literals_pb2.BlobMetadata(type=kind.blob)
            blob = literals_pb2.Blob(metadata=metadata, uri="/tmp/somepath")
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=blob))
        case "collection_type":
            item = default_literal(kind.collection_type)
            return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[item]))
        case "map_value_type":
            item = default_literal(kind.map_value_type)
            return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"itemKey": item}))
        case "enum_type":
            primitive = literals_pb2.Primitive(string_value=kind.enum_type.values[0])
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
        case "schema":
            schema = literals_pb2.Schema(type=kind.schema)
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(schema=schema))
        case "structured_dataset_type":
            described = literals_pb2.StructuredDatasetMetadata(structured_dataset_type=kind.structured_dataset_type)
            dataset = literals_pb2.StructuredDataset(metadata=described)
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(structured_dataset=dataset))
        case "union_type":
            variant = kind.union_type.variants[0]
            union = literals_pb2.Union(type=variant, value=default_literal(variant))
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=union))
        case other:
            raise AssertionError(f"the vectors have no default for {other}")


def _simple(number: int) -> literals_pb2.Scalar:
    if number in _PRIMITIVES:
        return literals_pb2.Scalar(primitive=_PRIMITIVES[number])
    if number == types_pb2.BINARY:
        return literals_pb2.Scalar(binary=literals_pb2.Binary(tag="msgpack"))
    if number == types_pb2.ERROR:
        return literals_pb2.Scalar(error=types_pb2.Error(message="Default Error message"))
    if number == types_pb2.STRUCT:
        return literals_pb2.Scalar(generic=struct_pb2.Struct())
    return literals_pb2.Scalar(none_type=literals_pb2.Void())
