"""Proto JSON."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from flyteidl.core import condition_pb2, literals_pb2, tasks_pb2, types_pb2, workflow_pb2
from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from propeller.compiler import to_json
from propeller.compiler._json import to_plain_json, to_stripped_json
from propeller.errors import Invalid
from tests.examples import examples
from tests.unit.compiler import shapes
from tests.unit.compiler.mutations import messages_of, mutate


def _rich_task() -> tasks_pb2.TaskTemplate:
    task = shapes.template()
    task.custom.update({"a": [1, 2.5, None, True, {"b": "c"}], "d": {}})
    task.metadata.generates_deck.value = False
    task.metadata.timeout.seconds = 90
    task.container.env.add(key="k", value="v")
    task.container.data_config.format = tasks_pb2.DataLoadingConfig.YAML
    task.config["x"] = "y"
    return task


def _holds_unset_value(message: Message) -> bool:
    values = (part for part in messages_of(message) if isinstance(part, struct_pb2.Value))
    return any(value.WhichOneof("kind") is None for value in values)


@examples(200)
@given(st.integers(min_value=0, max_value=2**32).map(Random))
def test_json_equals_that_of_protobuf_itself(random: Random) -> None:
    message = random.choice((_rich_task(), shapes.chain(3), shapes.calling(["s"])))
    mutate(random, message, 3)
    try:
        expected = json_format.MessageToDict(message)
    except (json_format.Error, ValueError):
        with pytest.raises(Invalid):
            to_json(message)
        return
    if _holds_unset_value(message):
        with pytest.raises(Invalid, match="not set"):  # protobuf's Python writes null, Go refuses
            to_json(message)
        return
    assert json.loads(json.dumps(to_json(message))) == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (literals_pb2.Primitive(integer=2**63 - 1), {"integer": "9223372036854775807"}),
        (literals_pb2.Primitive(float_value=float("nan")), {"floatValue": "NaN"}),
        (literals_pb2.Primitive(float_value=float("-inf")), {"floatValue": "-Infinity"}),
        (literals_pb2.Primitive(duration=duration_pb2.Duration(nanos=-5_000_000)), {"duration": "-0.005s"}),
        (
            literals_pb2.Primitive(datetime=timestamp_pb2.Timestamp(seconds=-1, nanos=10_000)),
            {"datetime": "1969-12-31T23:59:59.000010Z"},
        ),
        (workflow_pb2.ArrayNode(min_success_ratio=0.9), {"minSuccessRatio": 0.9}),
        (condition_pb2.ComparisonExpression.FromString(b"\x08\x63"), {"operator": 99}),
    ],
)
def test_odd_values_have_their_text(message: Any, expected: dict[str, Any]) -> None:
    assert to_json(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        literals_pb2.Primitive(duration=duration_pb2.Duration(seconds=1, nanos=-1)),
        literals_pb2.Primitive(datetime=timestamp_pb2.Timestamp(seconds=10**15)),
        struct_pb2.Struct(fields={"a": struct_pb2.Value()}),
        struct_pb2.Value(list_value=struct_pb2.ListValue(values=[struct_pb2.Value(number_value=float("inf"))])),
    ],
)
def test_values_without_a_json_form_are_refused(message: Any) -> None:
    holder = literals_pb2.Scalar()
    if isinstance(message, struct_pb2.Struct):
        holder.generic.CopyFrom(message)
    elif isinstance(message, struct_pb2.Value):
        holder.generic.fields["x"].CopyFrom(message)
    else:
        holder.primitive.CopyFrom(message)
    with pytest.raises(Invalid):
        to_json(holder)


def test_gos_plain_json_has_the_fields_own_names() -> None:
    assert to_plain_json(types_pb2.Error(failed_node_id="n", message="m")) == {"failed_node_id": "n", "message": "m"}
    config = tasks_pb2.DataLoadingConfig(enabled=True, format=tasks_pb2.DataLoadingConfig.YAML)
    assert to_plain_json(config) == {"enabled": True, "format": 1}


def test_stripping_keeps_only_annotations_that_are_part_of_a_cache_key() -> None:
    kind = types_pb2.LiteralType()
    kind.structure.dataclass_type["f"].metadata["schema"] = "x"
    kind.metadata["schema"] = "x"
    inner = kind.union_type.variants.add()
    inner.annotation.annotations["note"] = "x"
    kept = kind.union_type.variants.add()
    kept.annotation.annotations["cache-key-metadata"] = "x"
    assert to_stripped_json(kind) == {
        "structure": {"dataclassType": {"f": {}}},
        "unionType": {"variants": [{}, {"annotation": {"annotations": {"cache-key-metadata": "x"}}}]},
    }


def test_depth_is_no_matter() -> None:
    deep = types_pb2.LiteralType()
    inner = deep
    for _ in range(3_000):
        inner = inner.collection_type
    inner.simple = types_pb2.SimpleType.INTEGER
    found = to_json(deep)
    for _ in range(3_000):
        found = found["collectionType"]
    assert found == {"simple": "INTEGER"}
