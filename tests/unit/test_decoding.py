"""JSON of strangers as typed values: nulls as Go takes them, and wrong fields named."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller import decoding
from propeller.decoding import cut, nests_deeper, read
from propeller.kube import Lease, Pod
from propeller.workflow import ExecutionSpec
from propeller.workflow._spec import ClosureSpec


class Colour(enum.StrEnum):
    RED = "red"


class Inner(msgspec.Struct, rename="camel"):
    some_text: str = "default"
    number: int = 1


class Outer(msgspec.Struct, rename="camel"):
    text: str = ""
    whole: int = 0
    ratio: float = 0.0
    flag: bool = True
    colour: Colour = Colour.RED
    inner: Inner = msgspec.field(default_factory=Inner)
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    either: Colour | int = 0
    kept: msgspec.Raw = msgspec.Raw(b"")
    anything: dict[str, Any] = {}


class Strict(msgspec.Struct):
    name: str
    kind: Colour


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("field", Outer.__struct_encode_fields__)
def test_a_null_is_an_absent_field(field: str) -> None:
    found = read(Outer, b'{"%s":null}' % field.encode())
    assert found.problems == ()
    if field != "kept":
        assert found.value == Outer()


def test_a_null_in_a_list_or_map_is_the_zero_value_of_its_type() -> None:
    found = read(Outer, b'{"several":[null,{"number":null}],"named":{"a":null}}')
    assert found == decoding.Found(Outer(several=(Inner(), Inner()), named={"a": Inner()}))
    assert read(dict[str, str], b'{"a":null,"b":"c"}').value == {"a": "", "b": "c"}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b'{"text":5}', "text: expected text, found a number"),
        (b'{"whole":1.5}', "whole: expected a whole number, found a number"),
        (b'{"whole":1e999}', "whole: expected a whole number, found a number out of range"),
        (b'{"ratio":"1"}', "ratio: expected a number, found text"),
        (b'{"flag":"yes"}', "flag: expected true or false, found text"),
        (b'{"colour":"blue"}', "colour: expected one of red, found text"),
        (b'{"either":[]}', "either: expected one of red or a whole number, found a list"),
        (b'{"inner":[]}', "inner: expected an object, found a list"),
        (b'{"maybe":{"someText":false}}', "maybe.someText: expected text, found true or false"),
        (b'{"several":[{},{"number":"x"}]}', "several[1].number: expected a whole number, found text"),
        (b'{"named":{"a":{"number":{}}}}', "named.a.number: expected a whole number, found an object"),
        (b'{"named":{"flyte.org/a":7}}', "named[flyte.org/a]: expected an object, found a number"),
        (b'{"named":{"\\u001b[2J":7}}', "named[?[2J]: expected an object, found a number"),
        (b'{"text":"\xff"}', "text: expected text, found text that is not valid UTF-8"),
        (b'{"anything":{"a":[1,1e999]}}', "anything.a[1]: expected JSON, found a number out of range"),
        (b'{"kept":{"a":%s}}' % nested(3000), "nested deeper than 100 levels"),
        (b"nonsense", "expected an object, found no JSON"),
        (b"", "expected an object, found no JSON"),
        (b"null", "expected an object, found null"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_of_another_type_is_reported_with_its_field_its_type_and_the_one_expected(
    document: bytes, problem: str
) -> None:
    (told,) = read(Outer, document).problems
    assert told == problem or (told.startswith("kept.a[0][0]") and told.endswith(problem))


def test_fields_that_are_well_are_read_beside_those_that_are_not() -> None:
    found = read(Outer, b'{"text":5,"whole":7,"inner":{"someText":[],"number":3},"unread":%s}' % nested(5000))
    assert found.value == Outer(whole=7, inner=Inner(number=3))
    assert len(found.problems) == 2


def test_what_lacks_a_required_field_has_no_value() -> None:
    assert read(Strict, b"{}") == decoding.Found(
        None, ("name: missing, expected text", "kind: missing, expected one of red")
    )
    assert read(Strict, b'{"name":null,"kind":null}').message == "kind: expected one of red, found null"


def test_a_raw_field_keeps_its_bytes() -> None:
    found = read(Outer, b'{"text":null,"kept":{ "a" : [1] }}')
    assert found.value is not None
    assert bytes(found.value.kept) == b'{ "a" : [1] }'


def test_a_document_with_many_wrong_values_is_not_looked_at_without_end() -> None:
    many = b",".join(b'"k%d":5' % number for number in range(1000))
    assert len(read(Outer, b'{"named":{%s}}' % many).problems) == decoding.MAX_PROBLEMS
    nulls = b",".join(b'"k%d":null' % number for number in range(1000))
    assert read(Outer, b'{"named":{%s}}' % nulls, patience=100).problems == (
        "named: has too many values to say which of them is wrong",
    )


NULLABLE = {Pod: b'{"metadata":%s,"spec":%s,"status":%s}', Lease: b'{"metadata":%s,"spec":%s,"x":%s}'}


@pytest.mark.parametrize("type_", [Pod, Lease], ids=lambda type_: type_.__name__)
def test_objects_of_a_server_may_have_nulls_in_every_field(type_: type[Any]) -> None:
    def nulls(of: type[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(of):
            is_struct = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
            found[field.encode_name] = nulls(field.type) if is_struct else None
        return found

    found = read(type_, orjson.dumps(nulls(type_)))
    assert found == decoding.Found(type_())


@pytest.mark.parametrize("field", [*ExecutionSpec.__struct_encode_fields__])
def test_every_field_of_an_execution_may_be_null(field: str) -> None:
    assert read(ExecutionSpec, b'{"%s":null}' % field.encode()).problems == ()


def test_a_node_is_named_by_its_path() -> None:
    document = b'{"spec":{"id":"w","nodes":{"n0":{"id":"n0","kind":"task","task":5,"retry":{"minAttempts":null}}}}}'
    assert read(ClosureSpec, document).message == "spec.nodes.n0.task: expected text, found a number"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = st.dictionaries(st.sampled_from(Outer.__struct_encode_fields__), JSON, max_size=5)


@given(FIELDS)
def test_whatever_a_document_holds_it_is_a_value_or_says_what_is_wrong(fields: dict[str, Any]) -> None:
    document = msgspec.json.encode(fields)
    found = read(Outer, document)
    try:
        expected = msgspec.json.decode(document, type=Outer)
    except ValueError:
        assert found.value is not None
        return
    assert found == decoding.Found(expected)


@given(st.binary(max_size=60))
def test_whatever_the_bytes_are_nothing_is_raised(noise: bytes) -> None:
    for document in (noise, b'{"text":' + noise, b'{"inner":%s}' % noise, b'{"anything":{"a":%s},"text":5}' % noise):
        for type_ in (Outer, Strict):
            found = read(type_, document)
            assert found.value is not None or found.problems


@given(JSON, st.integers(1, 30), st.integers(-1, 1))
def test_levels_are_counted_whatever_the_texts_hold(value: Any, levels: int, off: int) -> None:
    shallow = msgspec.json.encode({"[{" * levels: "]}" * levels, 'a\\"[': value})
    depth = max(levels + off, 0)
    document = b'{"shallow":%s,"deep":%s}' % (shallow, nested(depth))
    own = 2 + _levels(value)
    assert nests_deeper(document, levels) == (max(own, depth + 1) > levels)


def _levels(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_levels, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@pytest.mark.parametrize("depth", [90, 400, 600, 3_000, 9_000, 200_000])
def test_a_depth_is_refused_on_every_interpreter_alike(depth: int) -> None:
    found = read(Outer, b'{"text":"t","kept":%s}' % nested(depth))
    assert found.value is not None
    assert found.value.text == "t"
    assert bool(found.problems) == (depth >= decoding.MAX_NESTING)
    assert all("nested deeper than 100 levels" in problem for problem in found.problems)


@given(JSON)
def test_cutting_leaves_shallow_documents_as_they_are(value: Any) -> None:
    document = msgspec.json.encode(value)
    assert cut(document) is document


@given(JSON, st.integers(0, 3), st.booleans())
def test_cutting_keeps_what_is_not_too_deep(value: Any, over: int, as_object: bool) -> None:
    depth = decoding.MAX_DEPTH - 2 + over
    opening, closing = (b'{"k":', b"}") if as_object else (b"[", b"]")
    deep = opening * depth + b"1" + closing * depth
    document = b'{"a":%s,"b":%s,"c":%s}' % (msgspec.json.encode(value), deep, msgspec.json.encode(value))
    flat = msgspec.json.decode(cut(document))
    assert flat["a"] == flat["c"] == msgspec.json.decode(msgspec.json.encode(value))
    assert (decoding._TOO_DEEP in cut(document)) == (depth >= decoding.MAX_DEPTH - 1)
