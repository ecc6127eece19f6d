"""What a process remembers of entries is bounded, whatever entries it has."""

from __future__ import annotations

import tracemalloc

import pytest

from propeller.catalog._remembered import MAX_BYTES, MAX_ENTRY_BYTES, Remembered


@pytest.mark.parametrize("size", [0, 1, 200, 20_000])
def test_memory_is_bounded_for_entries_of_any_size(size: int) -> None:
    remembered = Remembered()
    tracemalloc.start()
    for number in range(3 * MAX_BYTES // (size + 400)):
        remembered.put(f"{number:0>100}", f"{number:0>32}", bytes(size))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used <= 1.5 * MAX_BYTES
    assert remembered.get(f"{number:0>100}") is not None


def test_the_entry_that_was_used_least_recently_goes_first() -> None:
    remembered, data, count = Remembered(), bytes(MAX_ENTRY_BYTES), 2 * MAX_BYTES // MAX_ENTRY_BYTES
    for number in range(count):
        remembered.put(str(number), "v", data)
        assert remembered.get("0") is not None
    kept = [number for number in range(1, count) if remembered.get(str(number)) is not None]
    assert kept == list(range(count - len(kept), count))
    assert 0 < len(kept) < count - 1


def test_an_entry_that_is_too_large_is_not_remembered_and_its_earlier_version_neither() -> None:
    remembered = Remembered()
    remembered.put("a", "1", b"small")
    remembered.put("a", "2", bytes(MAX_ENTRY_BYTES + 1))
    assert remembered.get("a") is None
    assert remembered.size == 0
