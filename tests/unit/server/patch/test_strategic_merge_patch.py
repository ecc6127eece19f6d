"""Strategic merge patch: lists by their keys, and the directives."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.embedded.server.patch._merge_patch import DoesNotApply
from propeller.embedded.server.patch._strategic_merge_patch import strategic_merge
from propeller.embedded.server.schema._schema import builtin

POD = builtin("io.k8s.api.core.v1.Pod")


def containers(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": f"{name}:1"} for name in names]


def patched(spec: Any, patch: Any) -> Any:
    """A pod's spec after a patch of it."""
    return strategic_merge({"spec": spec}, {"spec": patch}, POD)["spec"]


def test_an_item_is_found_by_its_key_and_merged() -> None:
    result = patched({"containers": containers("a", "b")}, {"containers": [{"name": "b", "image": "b:2"}]})
    assert result["containers"] == [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [("ab", "c", "cab"), ("abc", "ca", "bca"), ("abc", "b", "abc"), ("abc", "xby", "xabyc"), ("", "ba", "ba")],
)
def test_items_follow_the_patchs_order_and_others_stay_before_their_successors(
    before: str, patch: str, after: str
) -> None:
    result = patched({"containers": containers(*before)}, {"containers": containers(*patch)})
    assert [one["name"] for one in result["containers"]] == list(after)


def test_an_item_is_deleted_by_a_directive() -> None:
    result = patched({"containers": containers("a", "b")}, {"containers": [{"name": "a", "$patch": "delete"}]})
    assert [one["name"] for one in result["containers"]] == ["b"]


def test_a_whole_list_is_replaced_by_a_directive() -> None:
    result = patched({"containers": containers("a", "b")}, {"containers": [*containers("c"), {"$patch": "replace"}]})
    assert result["containers"] == containers("c")


def test_an_item_that_is_itself_the_directive_to_replace_is_none() -> None:
    result = patched({"containers": containers("a")}, {"containers": [{"name": "b", "$patch": "replace"}]})
    assert result["containers"] == []


def test_a_map_is_replaced_by_a_directive() -> None:
    labels = {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}
    assert strategic_merge({"metadata": {"labels": {"a": "1"}}}, labels, POD)["metadata"]["labels"] == {"b": "2"}


def test_the_order_of_items_is_set_by_a_directive() -> None:
    order = [{"name": name} for name in "acb"]
    result = patched(
        {"containers": containers("a", "b")}, {"$setElementOrder/containers": order, "containers": containers("c")}
    )
    assert [one["name"] for one in result["containers"]] == ["a", "c", "b"]


def test_items_that_an_order_does_not_know_keep_their_place() -> None:
    order = [{"name": "c"}, {"name": "a"}]
    result = patched({"containers": containers("a", "x", "c")}, {"$setElementOrder/containers": order})
    assert [one["name"] for one in result["containers"]] == ["x", "c", "a"]


def test_primitive_lists_that_merge_are_joined_and_their_items_deleted() -> None:
    document = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge(document, patch, POD)["metadata"]["finalizers"] == ["c", "b"]


def test_lists_without_a_strategy_are_replaced() -> None:
    spec = {"containers": [{"name": "a", "args": ["1", "2"]}]}
    assert patched(spec, {"containers": [{"name": "a", "args": ["3"]}]})["containers"][0]["args"] == ["3"]


def test_ports_and_variables_are_merged_within_their_container() -> None:
    spec = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}]}
    change = {"name": "a", "env": [{"name": "Y", "value": "2"}], "ports": [{"containerPort": 80, "name": "http"}]}
    (container,) = patched(spec, {"containers": [change]})["containers"]
    assert [one["name"] for one in container["env"]] == ["Y", "X"]
    assert container["ports"] == [{"containerPort": 80, "name": "http"}]


def test_only_the_kept_keys_of_a_volume_stay() -> None:
    spec = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}
    assert patched(spec, {"volumes": [change]})["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_null_removes_a_field_and_nothing_else() -> None:
    assert patched({"nodeName": "n", "hostname": "h"}, {"nodeName": None}) == {"hostname": "h"}


def test_the_document_is_not_changed() -> None:
    document = {"spec": {"containers": containers("a")}}
    strategic_merge(document, {"spec": {"containers": [{"name": "a", "image": "x"}]}}, POD)
    assert document == {"spec": {"containers": containers("a")}}


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"image": "no name"}]},
        {"containers": [{"name": "a", "$patch": "twist"}]},
        {"containers": containers("b", "a"), "$setElementOrder/containers": containers("a", "b")},
        {"$setElementOrder/containers": "no list"},
        {"containers": ["no object"]},
        {"$patch": "twist"},
        {"$retainKeys": ["containers"], "hostname": "h"},
        {"$deleteFromPrimitiveList/tolerations": "no list"},
    ],
)
def test_a_patch_that_makes_no_sense_does_not_apply(patch: Any) -> None:
    with pytest.raises(DoesNotApply):
        patched({"containers": containers("a")}, patch)
