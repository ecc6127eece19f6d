"""Which objects a shard has, for the server's selectors and for ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.informers import Selection
from propeller.kube import parse_label_selector
from propeller.reconcile.shards import LabelShards

LABEL = "shard-key"
values = st.none() | st.integers(-2, 40).map(str) | st.sampled_from(["", "07", "7 ", "x", "1e1", "³", "٣"])


@pytest.mark.parametrize(("text", "key"), [("", "5"), ("a", "12"), ("foobar", "8"), ("exec", "28")])
def test_a_key_is_the_published_fnv1a_hash_modulo_32_as_flyteadmin_has_it(text: str, key: str) -> None:
    assert LabelShards(LABEL, 32, 16).key_of(text) == key


@given(values, st.integers(1, 32))
def test_every_object_is_in_the_one_shard_whose_selector_matches_it(value: str | None, groups: int) -> None:
    shards = LabelShards(LABEL, 32, groups)
    labels = {"other": "label"} | ({} if value is None else {LABEL: value})
    matching = [
        shard
        for shard in range(shards.count)
        if parse_label_selector(shards.selection(shard).label_selector).matches(labels)
    ]
    assert matching == [shards.of(labels)]


@given(st.integers(1, 32))
def test_groups_have_the_same_number_of_keys_give_or_take_one(groups: int) -> None:
    sizes = [len(LabelShards(LABEL, 32, groups).keys_of(shard)) for shard in range(groups)]
    assert sum(sizes) == 32
    assert max(sizes) - min(sizes) <= 1


def test_objects_without_the_label_have_a_shard_of_their_own() -> None:
    shards = LabelShards(LABEL, 4, 2)
    assert shards.count == 3
    assert shards.of(None) == shards.of({LABEL: "4"}) == shards.rest == 2
    assert shards.selection(2) == Selection(label_selector="shard-key notin (0,1,2,3)")
    assert shards.selection(1) == Selection(label_selector="shard-key in (2,3)")


@pytest.mark.parametrize("groups", [0, 33])
def test_more_groups_than_keys_or_none_are_refused(groups: int) -> None:
    with pytest.raises(Invalid, match="make 1 to 32 shards"):
        LabelShards(LABEL, 32, groups)


def test_a_shard_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="shards are 0 to 16"):
        LabelShards(LABEL, 32, 16).selection(17)


@given(values | st.sampled_from(["cluster-east", "cluster-west"]), st.integers(1, 32))
def test_an_object_whose_label_is_a_name_is_in_the_shard_of_that_name(value: str | None, groups: int) -> None:
    shards = LabelShards(LABEL, 32, groups, ("cluster-east", "cluster-west"))
    assert shards.count == groups + 3
    labels = {} if value is None else {LABEL: value}
    matching = [
        shard
        for shard in range(shards.count)
        if parse_label_selector(shards.selection(shard).label_selector).matches(labels)
    ]
    assert matching == [shards.of(labels)]
    assert (shards.of(labels) > groups) is (value in shards.named)
    assert shards.name_of(labels) == (value if value in shards.named else "")


@pytest.mark.parametrize("names", [("a", "a"), ("",), ("7",)])
def test_names_of_shards_differ_and_are_no_numbers(names: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="shards need names that differ"):
        LabelShards(LABEL, 32, 16, names)
