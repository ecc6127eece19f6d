"""Sets of fields: an algebra of trees, checked against sets of paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.server.patch._field_set import (
    DuplicateItem,
    Fields,
    compare,
    difference,
    fields_of,
    has,
    intersection,
    paths_of,
    union,
    without,
)
from propeller.embedded.server.schema._schema import builtin, of_custom_resource

POD = builtin("io.k8s.api.core.v1.Pod")
PARTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', "v:1"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(tuple)
PATH_SETS = st.frozensets(PATHS, max_size=6)


def tree(paths: frozenset[tuple[str, ...]]) -> Fields:
    """The tree that has exactly these paths."""
    result: Fields = {}
    for path in paths:
        result = union(result, nested(path))
    return result


def nested(path: tuple[str, ...]) -> Fields:
    return {path[0]: nested(path[1:])} if path else {}


def paths(fields: Fields, prefix: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    """The paths that are in a tree."""
    found = frozenset[tuple[str, ...]]()
    for key, child in fields.items():
        if key != ".":
            path = (*prefix, key)
            found |= ({path} if has(child) else set()) | paths(child, path)
    return found


@given(PATH_SETS)
def test_a_field_set_contains_its_members(one: Any) -> None:
    assert paths(tree(one)) == one


@given(PATH_SETS, PATH_SETS)
def test_trees_are_joined_cut_and_subtracted_as_sets_are(one: Any, other: Any) -> None:
    assert paths(union(tree(one), tree(other))) == one | other
    assert paths(intersection(tree(one), tree(other))) == one & other
    assert paths(difference(tree(one), tree(other))) == one - other


@given(PATH_SETS, PATH_SETS)
def test_a_difference_has_no_empty_branches(one: Any, other: Any) -> None:
    def is_tidy(fields: Fields) -> bool:
        return all(key == "." or child == {} or (len(child) > 0 and is_tidy(child)) for key, child in fields.items())

    left = difference(tree(one), tree(other))
    assert is_tidy(left)
    assert bool(left) is bool(one - other)


@given(PATH_SETS, PATHS)
def test_without_takes_all_below_a_path_off(one: Any, path: tuple[str, ...]) -> None:
    left = paths(without(tree(one), (path,)))
    assert left == {each for each in one if each[: len(path)] != path}


def test_paths_read_as_people_write_them() -> None:
    pod = {
        "metadata": {"labels": {"a.b/c": "d"}, "finalizers": ["f"]},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    assert set(paths_of(fields_of(pod, POD))) == {
        ".metadata.labels.a.b/c",
        '.metadata.finalizers[="f"]',
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].image',
        '.spec.containers[name="c"].name',
    }


def test_two_items_with_one_key_are_duplicates() -> None:
    pod = {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}
    with pytest.raises(DuplicateItem, match=r"\.spec\.containers"):
        fields_of(pod, POD)


def test_a_change_is_compared_item_by_item() -> None:
    old = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    new = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "1"}]}}
    found = compare(old, new, POD)
    assert set(paths_of(found.changed)) == {
        '.spec.containers[name="b"].image',
        '.spec.containers[name="c"]',
        '.spec.containers[name="c"].name',
        '.spec.containers[name="c"].image',
    }
    assert '.spec.containers[name="a"]' in set(paths_of(found.removed))


def test_a_field_that_is_no_longer_a_container_loses_its_content() -> None:
    schema = of_custom_resource({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    found = compare({"spec": {"a": {"b": 1}}}, {"spec": {"a": 1}}, schema)
    assert (set(paths_of(found.changed)), set(paths_of(found.removed))) == ({".spec.a"}, {".spec.a.b"})


@pytest.mark.parametrize(
    ("old", "new", "changed", "removed"),
    [
        ({"a": 1}, None, set(), {".spec.a"}),
        (None, {"a": 1}, {".spec.a"}, set()),
        (None, {}, {".spec"}, set()),
        ({}, {"a": 1}, {".spec.a"}, set()),
    ],
)
def test_null_is_a_container_without_anything_in_it(old: Any, new: Any, changed: set[str], removed: set[str]) -> None:
    schema = of_custom_resource({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    found = compare({"spec": old}, {"spec": new}, schema)
    assert (set(paths_of(found.changed)), set(paths_of(found.removed))) == (changed, removed)


def test_paths_of_a_node_come_before_those_below_it() -> None:
    fields: Fields = {"f:spec": {"f:a": {".": {}, "f:z": {}}, "f:b": {}}}
    assert list(paths_of(fields)) == [".spec.a", ".spec.b", ".spec.a.z"]
