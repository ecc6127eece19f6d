"""The storage against the simplest model of it: a copy of everything at every version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.server._storage import Change, Collection, Expired, Record, Storage, encode

KEYS = ("a/x", "a/y", "a-b/x", "b/x", "b/z")

steps = st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS)), max_size=60)
windows = st.integers(1, 70)


def new_storage(max_changes: int = 100, max_bytes: int = 1 << 20) -> tuple[Storage, Collection]:
    storage = Storage(max_changes=max_changes, max_bytes=max_bytes)
    return storage, storage.collection("things", lambda obj: ())


def put(storage: Storage, collection: Collection, key: str, payload: str = "") -> Record:
    """Create or change an object."""
    namespace, name = key.split("/")
    before = collection.records.get(key)
    uid = before.uid if before else f"{key}@{storage.version}"
    obj: dict[str, Any] = {"metadata": {"name": name, "namespace": namespace, "uid": uid}, "data": payload}
    return storage.put(collection, encode(collection, obj, storage.version + 1), before)


def perform(storage: Storage, collection: Collection, taken: list[tuple[bool, str]]) -> dict[int, dict[str, Record]]:
    """Take the steps, True for a write and False for a deletion; the model by version."""
    model = {storage.version: dict(collection.records)}
    for is_put, key in taken:
        if is_put:
            put(storage, collection, key)
        elif key in collection.records:
            storage.delete(collection, collection.records[key])
        model[storage.version] = dict(collection.records)
    return model


@given(steps, windows, st.sampled_from(["", "a", "b"]), st.sampled_from(["", *KEYS]))
def test_every_version_of_the_window_can_be_read_and_no_older_one(
    taken: list[tuple[bool, str]], window: int, namespace: str, after: str
) -> None:
    storage, collection = new_storage(max_changes=window)
    model = perform(storage, collection, taken)
    for version, records in model.items():
        wanted = [
            records[key] for key in sorted(records) if key > after and key.startswith(namespace and f"{namespace}/")
        ]
        if version < collection.history.floor:
            with pytest.raises(Expired):
                collection.at(version, namespace, after)
        else:
            assert list(collection.at(version, namespace, after)) == wanted


@given(steps, windows)
def test_the_changes_after_a_version_lead_from_it_to_now(taken: list[tuple[bool, str]], window: int) -> None:
    storage, collection = new_storage(max_changes=window)
    model = perform(storage, collection, taken)
    history = collection.history
    for version, records in model.items():
        if version < history.floor:
            continue
        changes = history.since(history.position_after(version), 1000)
        assert changes is not None
        state = dict(records)
        for change in changes:
            assert state.get(change.after.key) == change.before
            if change.deleted:
                del state[change.after.key]
            else:
                state[change.after.key] = change.after
        assert state == collection.records


@given(steps, windows)
def test_the_window_holds_no_more_than_it_may_and_at_least_the_latest_change(
    taken: list[tuple[bool, str]], window: int
) -> None:
    storage, collection = new_storage(max_changes=window)
    written = len(perform(storage, collection, taken)) - 1
    kept = collection.history.since(collection.history.end - 1, 1) if written else []
    assert kept is not None
    assert len(collection.history.after(collection.history.floor)) <= window
    assert [change.version for change in kept] == ([storage.version] if written else [])


def test_bytes_bound_the_window_and_are_given_back() -> None:
    storage, collection = new_storage(max_bytes=10_000)
    for number in range(1000):
        put(storage, collection, KEYS[number % 5], "x" * 500)
    kept = collection.history.after(collection.history.floor)
    assert 5 <= len(kept) <= 20
    storage.compact()
    assert collection.history.after(storage.version) == []
    for number in range(10):
        put(storage, collection, KEYS[number % 5], "x" * 500)
    assert len(collection.history.after(collection.history.floor)) == 10, "what was dropped counts no more"


def test_a_position_stays_valid_while_the_window_moves_on() -> None:
    storage, collection = new_storage(max_changes=8)
    for number in range(8):
        put(storage, collection, KEYS[number % 5])
    history = collection.history
    position = history.position_after(storage.version)
    for number in range(4):
        put(storage, collection, KEYS[number % 5])
    later = history.since(position, 100)
    assert later is not None
    assert [change.version for change in later] == list(range(storage.version - 3, storage.version + 1))
    for number in range(20):
        put(storage, collection, KEYS[number % 5])
    assert history.since(position, 100) is None


@given(steps, st.integers(0, 60))
def test_keys_are_in_order_whatever_came_and_went(taken: list[tuple[bool, str]], looks_every: int) -> None:
    storage, collection = new_storage()
    for number, step in enumerate(taken):
        perform(storage, collection, [step])
        if looks_every and number % looks_every == 0:
            assert list(collection.keys()) == sorted(collection.records)
    assert list(collection.keys()) == sorted(collection.records)
    for namespace in ("a", "a-b", "b", "absent"):
        inside = [key for key in sorted(collection.records) if key.startswith(f"{namespace}/")]
        assert list(collection.keys(namespace)) == inside
        assert collection.count(namespace) == len(inside)


def test_the_sorted_keys_survive_a_change_of_nearly_all_of_them() -> None:
    storage, collection = new_storage(max_changes=1000)
    for number in range(300):
        put(storage, collection, f"n/{number:03}")
    assert len(list(collection.keys())) == 300
    for number in range(0, 300, 2):
        storage.delete(collection, collection.records[f"n/{number:03}"])
    for number in range(0, 300, 4):
        put(storage, collection, f"n/{number:03}")
    assert list(collection.keys()) == sorted(collection.records)


def test_a_recreated_object_is_not_found_by_its_old_uid() -> None:
    storage, collection = new_storage()
    first = put(storage, collection, "a/x")
    storage.delete(collection, first)
    second = put(storage, collection, "a/x")
    assert storage.find(first.uid) is None
    assert storage.find(second.uid) == (collection, second)


def test_a_change_that_changes_nothing_is_not_stored() -> None:
    storage, collection = new_storage()
    record = put(storage, collection, "a/x", "same")
    told: list[Change] = []
    storage.listeners.append(lambda collection, change: told.append(change))
    assert storage.amend(collection, record, lambda obj: obj.update(data="same")) is record
    assert storage.amend(collection, record, lambda obj: obj.update(data="other")).version == storage.version
    assert [change.version for change in told] == [storage.version]
