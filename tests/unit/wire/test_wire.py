"""Protobuf that is read without parsing: the results are those of protobuf's own parser, at bounded cost."""

from __future__ import annotations

import tracemalloc

import pytest
from flyteidl.core import dynamic_job_pb2, literals_pb2
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message
from hypothesis import example, given
from hypothesis import strategies as st

from propeller import wire
from propeller.errors import CorruptBlob, Invalid
from propeller.wire import COLLECTION, FIRST, SECOND, Encoded, Items, Literals, Slice, whole
from tests.unit.storage.values import literal, trees

EMPTY_LITERAL = b"\x0a\x00"
"""One more item of a list, or one more entry of a map: two bytes, which a parser makes a hundred or more of."""


def message(*parts: tuple[int, bytes]) -> bytes:
    encoded = Encoded()
    for tag, data in parts:
        encoded.add(tag, data)
    return encoded.tobytes()


def outputs_with_a_list_of(items: int) -> bytes:
    value = message((COLLECTION, EMPTY_LITERAL * items))
    return message((FIRST, message((FIRST, b"o0"), (SECOND, value))))


literal_maps = st.dictionaries(st.text(max_size=5), trees, max_size=5).map(
    lambda values: literals_pb2.LiteralMap(literals={name: literal(value) for name, value in values.items()})
)


@given(of=literal_maps)
def test_a_map_is_its_literals_by_name_and_encodes_to_the_same_bytes_in_any_order(of: literals_pb2.LiteralMap) -> None:
    data = of.SerializeToString(deterministic=True)
    for found in (Literals(data), Literals(wire.entries(whole(data)))):
        assert {name: literals_pb2.Literal.FromString(raw.tobytes()) for name, raw in found.raw.items()} == of.literals
        assert dict(found.literals) == dict(of.literals)
        encoded = found.encode()
        assert literals_pb2.LiteralMap.FromString(encoded.tobytes()) == of
        assert encoded.size == len(data)
        assert Literals(dict(reversed(found.raw.items()))).encode().tobytes() == encoded.tobytes()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A map with some bytes changed, removed, repeated or put in."""
    data = bytearray(draw(literal_maps).SerializeToString())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "cut", "insert", "repeat"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at : at + draw(st.integers(1, 4))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=12))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 12))]
    return bytes(data)


@given(data=damaged() | st.binary(max_size=60))
@example(b"\x0a\x02\x12\x00\x0a\x00")
@example(b"\x8a\x00\x00")  # a tag in more bytes than it needs
@example(b"\x0b\x0c")  # a group
@example(b"\x0a\x06\x0a\x00\x12\x00\x18\x01")  # an entry with a third field
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(data: bytes) -> None:
    try:
        found = wire.entries(whole(data))
    except CorruptBlob:
        return
    try:
        expected = literals_pb2.LiteralMap.FromString(data)
    except DecodeError:
        return  # garbage within a literal, which is not looked at
    assert found.keys() == set(expected.literals)
    for name, raw in found.items():
        assert literals_pb2.Literal.FromString(raw.tobytes()) == expected.literals[name]
        try:
            kind, value = wire.value_of(raw)
        except CorruptBlob:
            continue
        names = {0: None, wire.SCALAR: "scalar", COLLECTION: "collection", wire.MAP: "map"}
        assert names.get(kind, "offloaded_metadata") == expected.literals[name].WhichOneof("value")
        if kind == COLLECTION:
            items = [literals_pb2.Literal.FromString(item.tobytes()) for item in Items(value, 1000)]
            assert items == list(expected.literals[name].collection.literals)


@pytest.mark.parametrize("more", [b"", b"\x0a\x02\x0a\x00" * 5000], ids=["few bytes", "many"])
def test_an_entry_with_a_third_field_is_refused_and_a_map_with_other_fields_is_read(more: bytes) -> None:
    assert Literals(b"\x0a\x03\x0a\x01x\x18\x01" + more).raw.keys() >= {"x"}
    with pytest.raises(CorruptBlob):
        Literals(b"\x0a\x05\x0a\x01x\x18\x01" + more)


@given(data=st.binary(max_size=200))
def test_garbage_is_walked_to_its_end_or_refused_and_no_field_goes_beyond_it(data: bytes) -> None:
    try:
        ends = [(start, end) for _, start, end in wire.fields(whole(data))]
    except CorruptBlob:
        return
    assert all(start <= end <= len(data) for start, end in ends)
    assert not ends or ends[-1][1] == len(data)


def messages_in(of: Message) -> int:
    """How many a message holds, by what protobuf has parsed."""
    total = 0
    for field, value in of.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            total += len(value)
            if field.message_type.fields_by_name["value"].message_type is not None:
                total += sum(1 + messages_in(value[key]) for key in value)
        elif field.message_type is not None:
            total += sum(1 + messages_in(each) for each in (value if field.is_repeated else [value]))
    return total


@given(of=literal_maps)
def test_messages_are_counted_as_protobuf_has_them(of: literals_pb2.LiteralMap) -> None:
    data = of.SerializeToString()
    number = messages_in(of)
    assert wire.count(data, of.DESCRIPTOR, number) == number
    if number:
        with pytest.raises(CorruptBlob, match=f"more than {number - 1} messages"):
            wire.count(data, of.DESCRIPTOR, number - 1)


def test_a_message_over_the_limit_of_messages_is_refused_by_name_and_not_parsed() -> None:
    bomb = EMPTY_LITERAL * 100_000
    tracemalloc.start()
    with pytest.raises(CorruptBlob, match=r"futures\.pb \(200000 bytes\) .* more than 1000 messages \(the\.setting\)"):
        wire.parse(dynamic_job_pb2.DynamicJobSpec, bomb, 1_000, "futures.pb", "the.setting")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(bomb)


@pytest.mark.parametrize("levels", [101, 30_000])
def test_messages_that_nest_too_deep_are_refused(levels: int) -> None:
    data = b""
    for _ in range(levels):
        data = message((0x32, message((FIRST, data))))  # a struct's list in a list
        if len(data) > 20_000:
            break
    with pytest.raises(CorruptBlob):
        wire.parse(struct_pb2.Value, data, 10_000_000, "a value")
    with pytest.raises(CorruptBlob, match="nest more than 100 deep"):
        wire.count(data, struct_pb2.Value.DESCRIPTOR, 10_000_000)


def test_a_list_of_a_million_empty_literals_is_passed_on_without_looking_at_one() -> None:
    bomb = outputs_with_a_list_of(1_000_000)
    tracemalloc.start()
    found = Literals(bomb)
    assert list(found.raw) == ["o0"]
    assert found.raw["o0"].data is bomb
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_a_list_of_a_million_empty_literals_is_not_parsed_for_a_command_or_condition() -> None:
    with pytest.raises(CorruptBlob, match=r"the value of 'o0' .* more than 50000 messages"):
        Literals(outputs_with_a_list_of(1_000_000)).literals["o0"]


def test_more_names_than_a_task_has_are_refused() -> None:
    with pytest.raises(CorruptBlob, match="more than 10000 entries"):
        Literals(EMPTY_LITERAL * 1_000_000)


def test_items_cost_sixteen_bytes_each_and_no_more_are_looked_at_than_the_limit() -> None:
    value = whole(EMPTY_LITERAL * 500_000)
    tracemalloc.start()
    assert len(Items(value, 100_000)) == 100_001
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000 * 16 * 3


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05abc", b"\x0d\x00", b"\x08" + b"\xff" * 11, b"\x0f", b"\x02\x00"])
def test_a_field_that_is_cut_or_of_no_kind_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptBlob):
        list(wire.fields(whole(data)))


def test_a_value_given_twice_is_refused_because_parsers_would_merge_or_drop_one() -> None:
    twice = message((COLLECTION, EMPTY_LITERAL), (COLLECTION, EMPTY_LITERAL))
    with pytest.raises(CorruptBlob, match="occurs twice"):
        wire.value_of(whole(twice))


def test_a_message_that_would_be_too_large_is_refused_before_it_is_put_together() -> None:
    piece = whole(bytes(1_000_000))
    encoded = Encoded()
    for _ in range(100):
        encoded.add(FIRST, piece)
    tracemalloc.start()
    with pytest.raises(Invalid, match=r"inputs\.pb would have 100000400 bytes, .* storage\.max_blob_bytes, 5000000"):
        encoded.require(5_000_000, "inputs.pb")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_a_slice_is_its_bytes() -> None:
    assert Slice(b"abcd", 1, 3).tobytes() == b"bc"
    assert bytes(Slice(b"abcd", 1, 3).view()) == b"bc"
