"""JSON merge patch and JSON patch, by what their RFCs promise."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.server.patch._merge_patch import DoesNotApply, json_patch, merge_patch

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=3)
KEYS = st.text("ab/~0", max_size=3)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)


def pruned(value: Any) -> Any:
    """Without nulls in objects, as any merge patch leaves what it writes; lists are taken as they are."""
    if isinstance(value, dict):
        return {name: pruned(member) for name, member in value.items() if member is not None}
    return value


def merge_difference(old: Any, new: Any) -> Any:
    """Compute a merge patch that turns `old` into `new`, if `new` has no nulls in objects."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    changed = {name: merge_difference(old.get(name), value) for name, value in new.items() if old.get(name) != value}
    return {**changed, **{name: None for name in old if name not in new}}


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_leads_to_any_object_without_nulls(old: Any, new: Any) -> None:
    wanted = pruned(new)
    assert merge_patch(old, merge_difference(old, wanted)) == wanted


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_twice_is_a_merge_patch_once(document: Any, patch: Any) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_keeps_unnamed_fields_and_its_input(document: Any, patch: Any) -> None:
    before = copy.deepcopy((document, patch))
    patched = merge_patch(document, patch)
    assert {name: patched[name] for name in document if name not in patch} == {
        name: value for name, value in document.items() if name not in patch
    }
    assert (document, patch) == before


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7386(document: Any, patch: Any, result: Any) -> None:
    assert merge_patch(document, patch) == result


def pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


@given(OBJECTS, KEYS, JSON)
def test_add_and_remove_operations_take_effect(document: Any, key: str, value: Any) -> None:
    added = json_patch(document, [{"op": "add", "path": pointer(key), "value": value}])
    assert added == {**document, key: value}
    assert json_patch(added, [{"op": "remove", "path": pointer(key)}]) == {
        name: member for name, member in document.items() if name != key
    }


@given(st.lists(JSON, max_size=4), st.integers(0, 5), JSON)
def test_adding_to_a_list_inserts(items: list[Any], index: int, value: Any) -> None:
    patch = [{"op": "add", "path": f"/l/{index}", "value": value}]
    if index > len(items):
        with pytest.raises(DoesNotApply, match="out of bounds"):
            json_patch({"l": items}, patch)
    else:
        assert json_patch({"l": items}, patch)["l"] == [*items[:index], value, *items[index:]]


@given(OBJECTS, JSON)
def test_a_test_operation_accepts_only_the_present_value(document: Any, other: Any) -> None:
    patch = [{"op": "test", "path": "", "value": other}]
    if json.dumps(document, sort_keys=True) == json.dumps(other, sort_keys=True):
        assert json_patch(document, patch) == document
    else:
        with pytest.raises(DoesNotApply, match="testing path"):
            json_patch(document, patch)


@given(OBJECTS, KEYS, KEYS)
def test_moving_is_removing_and_adding(document: Any, source: str, target: str) -> None:
    patch = [{"op": "move", "from": pointer(source), "path": pointer(target)}]
    if source not in document:
        with pytest.raises(DoesNotApply):
            json_patch(document, patch)
    else:
        rest = {name: value for name, value in document.items() if name != source}
        assert json_patch(document, patch) == {**rest, target: document[source]}


@given(OBJECTS)
def test_a_patch_that_fails_half_way_changes_nothing(document: Any) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(DoesNotApply):
        json_patch(document, [{"op": "add", "path": "/new", "value": 1}, {"op": "test", "path": "/new", "value": 2}])
    assert document == before


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
        ({"a": [1, 2]}, {"op": "replace", "path": "/a/0", "value": 9}, {"a": [9, 2]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": 1}, {"op": "replace", "path": "", "value": {"b": 2}}, {"b": 2}),
        ({"a/b": {"c~d": 1}}, {"op": "replace", "path": "/a~1b/c~0d", "value": 2}, {"a/b": {"c~d": 2}}),
        ({"": {"": 1}}, {"op": "remove", "path": "//"}, {"": {}}),
    ],
)
def test_one_operation(document: Any, operation: Any, result: Any) -> None:
    assert json_patch(document, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/l/-1", "value": 1},
        {"op": "replace", "path": "/l/-", "value": 1},
        {"op": "add", "path": "no slash", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "move", "from": "/o", "path": "/o/inner"},
        {"op": "remove", "path": ""},
        {"op": "twist", "path": "/a"},
        {"path": "/a"},
        {"op": "add", "value": 1},
        "no operation",
    ],
)
def test_an_inapplicable_patch_is_refused(operation: Any) -> None:
    with pytest.raises(DoesNotApply):
        json_patch({"a": 1, "l": [1], "o": {"p": 1}}, [operation])
