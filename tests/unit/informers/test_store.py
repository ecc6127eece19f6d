"""The store against a plain dict, and its own guarantees."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from propeller.informers import Change, Store, key_of
from propeller.kube import KubeObject, ObjectMeta
from tests.examples import examples


def obj(name: str, version: int | str, *, uid: str = "u", labels: dict[str, str] | None = None) -> KubeObject:
    metadata = ObjectMeta(name=name, namespace="ns", uid=uid, resource_version=str(version), labels=labels)
    return KubeObject(metadata=metadata)


def by_label(thing: KubeObject) -> Iterable[str]:
    return (thing.metadata.labels or {}).values()


NAMES = st.sampled_from("abc")
VERSIONS = st.integers(1, 30)
UIDS = st.sampled_from("uv")
LABELS = st.dictionaries(st.sampled_from("xy"), st.sampled_from("123"))


class StoreIsADictThatMovesForward(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store: Store[KubeObject] = Store({"label": by_label, "name": lambda thing: [thing.metadata.name]})
        self.model: dict[str, KubeObject] = {}
        self.mirror: dict[str, KubeObject] = {}

    def follow(self, change: Change[KubeObject] | None) -> None:
        """Apply a change as a subscriber would: it always fits what the subscriber has seen."""
        if change is None:
            return
        assert self.mirror.get(change.key) is change.old
        if change.new is None:
            del self.mirror[change.key]
        else:
            self.mirror[change.key] = change.new

    @rule(name=NAMES, version=VERSIONS, uid=UIDS, labels=LABELS)
    def put(self, name: str, version: int, uid: str, labels: dict[str, str]) -> None:
        new = obj(name, version, uid=uid, labels=labels)
        old = self.model.get(f"ns/{name}")
        change = self.store.upsert(new)
        assert (change is not None) == (old is None or version > int(old.metadata.resource_version))
        if change is not None:
            self.model[f"ns/{name}"] = new
        self.follow(change)

    @rule(name=NAMES, version=VERSIONS | st.just(""), uid=UIDS)
    def remove(self, name: str, version: int | str, uid: str) -> None:
        old = self.model.get(f"ns/{name}")
        change = self.store.delete(obj(name, version, uid=uid))
        expected = (
            old is not None
            and old.metadata.uid == uid
            and (not version or int(version) >= int(old.metadata.resource_version))
        )
        assert (change is not None) == expected
        if expected:
            del self.model[f"ns/{name}"]
        self.follow(change)

    @rule(listed=st.dictionaries(NAMES, st.tuples(VERSIONS, UIDS, LABELS)))
    def replace(self, listed: dict[str, tuple[int, str, dict[str, str]]]) -> None:
        objects = [obj(name, version, uid=uid, labels=labels) for name, (version, uid, labels) in listed.items()]
        seen: set[str] = set()
        for page in (objects[:1], objects[1:]):
            for change in self.store.replace_page(page, seen):
                self.follow(change)
        for change in self.store.finish_replace(seen):
            assert change.final_state_unknown
            self.follow(change)
        self.model = {key_of(new): new for new in objects}

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert {key_of(thing): thing for thing in self.store} == self.model == self.mirror
        assert set(self.store.keys()) == self.model.keys()
        assert len(self.store) == len(self.model)

    @invariant()
    def its_indexes_find_what_a_scan_finds(self) -> None:
        for value in "123":
            found = {key_of(thing) for thing in self.store.by_index("label", value)}
            assert found == {key for key, thing in self.model.items() if value in by_label(thing)}
        for name in "abc":
            assert len(self.store.by_index("name", name)) == (f"ns/{name}" in self.model)
        assert all(keys for index in self.store._indexes.values() for keys in index.values())


TestStoreIsADictThatMovesForward = StoreIsADictThatMovesForward.TestCase
TestStoreIsADictThatMovesForward.settings = examples(50, stateful_step_count=30)


def test_a_version_that_is_the_same_number_is_not_newer() -> None:
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", 7))
    assert store.upsert(obj("a", 7)) is None
    assert store.upsert(obj("a", "007", uid="v")) is None


def test_an_older_state_of_another_incarnation_is_not_taken_either() -> None:
    """Regression: any other uid was taken for newer."""
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", 20, uid="second"))
    assert store.upsert(obj("a", 10, uid="first")) is None


def test_a_deletion_of_an_earlier_incarnation_does_not_touch_its_successor() -> None:
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", 30, uid="second"))
    assert store.delete(obj("a", 20, uid="first")) is None
    assert "ns/a" in store


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", "zeta"))
    assert store.upsert(obj("a", "alpha")) is not None
    assert store.upsert(obj("a", "alpha")) is None
    assert store.delete(obj("a", "beta")) is not None


def test_a_list_wins_even_if_versions_went_back() -> None:
    """Regression: after a restored backup the store kept what was newer by number for ever."""
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", 1000))
    (change,) = store.replace_page([obj("a", 500)], set())
    assert change.new == obj("a", 500)


def test_a_version_that_a_restored_server_has_given_to_another_state_is_taken() -> None:
    """Regression: the state that the server had before it was restored was kept for ever."""
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", 1000))
    again = obj("a", 1000, labels={"l": "v"})
    assert list(store.replace_page([obj("a", 1000)], set())) == []
    (change,) = store.replace_page([again], set())
    assert change.new == store.get("ns/a") == again


def test_an_object_recreated_during_a_gap_is_a_deletion_and_a_creation() -> None:
    store: Store[KubeObject] = Store()
    first, second = obj("a", 10, uid="first"), obj("a", 20, uid="second")
    store.upsert(first)
    gone, new = store.replace_page([second], set())
    assert gone == Change("ns/a", first, None, final_state_unknown=True)
    assert new == Change("ns/a", None, second)


def test_the_deletion_of_another_incarnation_is_ignored_also_if_versions_are_not_numbers() -> None:
    store: Store[KubeObject] = Store()
    store.upsert(obj("a", "zeta", uid="second"))
    assert store.delete(obj("a", "alpha", uid="first")) is None


def test_plain_json_objects_are_kept_as_well_as_structs() -> None:
    store: Store[dict[str, Any]] = Store({"kind": lambda thing: [thing["kind"]]})
    node = {"kind": "Node", "metadata": {"name": "n", "resourceVersion": "5"}}
    store.upsert(node)
    assert store.get("n") is node
    assert store.by_index("kind", "Node") == [node]


def test_an_index_that_was_not_named_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Store().by_index("none", "")


def test_an_index_function_that_raises_spoils_neither_the_store_nor_other_indexes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fragile(thing: KubeObject) -> Iterable[str]:
        return [(thing.metadata.labels or {})["must"]]

    store: Store[KubeObject] = Store({"fragile": fragile, "name": lambda thing: [thing.metadata.name]})
    with caplog.at_level(logging.ERROR):
        for version in range(1, 6):
            store.upsert(obj("a", version))
    assert len(caplog.records) == 1
    assert "ns/a" in caplog.text
    assert len(store.by_index("name", "a")) == 1
    store.upsert(obj("a", 9, labels={"must": "1"}))
    assert len(store.by_index("fragile", "1")) == 1
    store.delete(obj("a", ""))
    assert store.by_index("fragile", "1") == []


@given(st.lists(st.tuples(NAMES, VERSIONS), min_size=1))
def test_iterating_is_safe_while_the_store_changes(puts: list[tuple[str, int]]) -> None:
    store: Store[KubeObject] = Store()
    for name, version in puts:
        store.upsert(obj(name, version))
    for thing in store:
        store.delete(thing)
    assert len(store) == 0
