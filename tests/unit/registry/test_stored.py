"""A registry keeps what was registered, and nothing else is ever taken for it."""

from __future__ import annotations

import hashlib

import pytest

from propeller.errors import CorruptBlob, Invalid
from propeller.registry import Entity, EntityKind, RegistryConflict, StoredRegistry
from propeller.storage import MemoryStore, Storage

PLAN = Entity(EntityKind.LAUNCH_PLAN, "p", "d", "nightly", "v1")
CONTENT = b"what it does"
BLOB = f"memory://r/blobs/{hashlib.sha256(CONTENT).hexdigest()}"
PLACE = "memory://r/entities/launch_plan/p/d/nightly/v1"


def registry(blobs: dict[str, bytes]) -> StoredRegistry:
    return StoredRegistry(Storage(stores={"memory": MemoryStore(blobs)}), "memory://r/")


async def test_what_is_registered_is_found_by_its_content() -> None:
    blobs: dict[str, bytes] = {}
    of = registry(blobs)
    assert await of.find(PLAN) is None
    assert await of.register(PLAN, CONTENT)
    assert await of.find(PLAN) == CONTENT
    assert blobs.keys() == {BLOB, PLACE}


async def test_the_same_content_again_changes_nothing_and_another_is_refused() -> None:
    blobs: dict[str, bytes] = {}
    of = registry(blobs)
    await of.register(PLAN, CONTENT)
    before = dict(blobs)
    assert not await of.register(PLAN, CONTENT)
    with pytest.raises(
        RegistryConflict, match=r"launch plan nightly .* is registered in memory://r with other content"
    ):
        await of.register(PLAN, b"another")
    assert blobs == before
    assert await registry(blobs).find(PLAN) == CONTENT


@pytest.mark.parametrize("changed", [b"", b"what it does not"])
async def test_content_that_was_changed_is_not_taken_for_it(changed: bytes) -> None:
    blobs: dict[str, bytes] = {}
    await registry(blobs).register(PLAN, CONTENT)
    blobs[BLOB] = changed
    with pytest.raises(CorruptBlob, match="was changed after it was registered"):
        await registry(blobs).find(PLAN)


async def test_content_that_is_gone_is_said() -> None:
    blobs: dict[str, bytes] = {}
    await registry(blobs).register(PLAN, CONTENT)
    del blobs[BLOB]
    with pytest.raises(CorruptBlob, match="its content is gone"):
        await registry(blobs).find(PLAN)


@pytest.mark.parametrize("left", [None, b"", b"what it does not"])
async def test_content_that_is_gone_or_changed_is_mended_by_registering_it_again(left: bytes | None) -> None:
    blobs: dict[str, bytes] = {}
    await registry(blobs).register(PLAN, CONTENT)
    del blobs[BLOB]
    if left is not None:
        blobs[BLOB] = left
    assert not await registry(blobs).register(PLAN, CONTENT)
    assert await registry(blobs).find(PLAN) == CONTENT


@pytest.mark.parametrize(
    "reference",
    [
        b"",
        b"7",
        b'{"sha256": "\xff"}',
        b'{"x": %b}' % (b"[" * 5000 + b"]" * 5000),
        b'{"sha256": "../../secret"}',
        b'{"sha256": 7}',
    ],
)
async def test_a_reference_leads_nowhere_but_to_a_blob(reference: bytes) -> None:
    with pytest.raises(CorruptBlob, match="names no content of a registered entity"):
        await registry({PLACE: reference, "memory://r/secret": b"secret"}).find(PLAN)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a/../b", "\n", "a%2Fb"])
async def test_a_name_is_one_part_of_a_path(name: str) -> None:
    blobs: dict[str, bytes] = {}
    of, entity = registry(blobs), Entity(EntityKind.TASK, "p", "d", name, "v1")
    assert await of.register(entity, CONTENT)
    [place] = [uri for uri in blobs if "/entities/" in uri]
    parts = place.removeprefix("memory://r/entities/").split("/")
    assert len(parts) == 5
    assert not {".", "..", ""}.intersection(parts)
    assert await of.entities(EntityKind.TASK, "p", "d") == [entity]


@pytest.mark.parametrize(("name", "says"), [("", "name of a task is empty"), ("x" * 201, "takes 201 bytes in a path")])
async def test_a_name_that_cannot_be_one_is_refused(name: str, says: str) -> None:
    entity = Entity(EntityKind.TASK, "p", "d", name, "v1")
    with pytest.raises(Invalid, match=says):
        await registry({}).register(entity, CONTENT)
    with pytest.raises(Invalid, match=says):
        await registry({}).find(entity)
