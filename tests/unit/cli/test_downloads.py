"""Files of an execution are copied below the directory that was named, whatever a task calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from flyteidl.core import literals_pb2, types_pb2

from propeller.cli._downloads import download
from propeller.errors import Invalid, PropellerError
from propeller.storage import MemoryStore, Storage, StorageOptions


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    blobs = {"memory://m/a/f.txt": b"one", "memory://m/d/x/1": b"1", "memory://m/d/2": b"2", "memory://m/t": b"table"}
    options = StorageOptions(metadata_prefix="memory://m")
    async with Storage(options, stores={"memory": MemoryStore(blobs)}, trusting=True) as storage:
        yield storage


def blob(uri: str, *, is_directory: bool = False) -> literals_pb2.Literal:
    made = literals_pb2.Literal()
    made.scalar.blob.uri = uri
    if is_directory:
        made.scalar.blob.metadata.type.dimensionality = types_pb2.BlobType.MULTIPART
    return made


def literals(**values: literals_pb2.Literal) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals=values)


async def test_a_file_a_directory_a_table_and_files_inside_values_are_copied(storage: Storage, tmp_path: Path) -> None:
    table, several, optional = literals_pb2.Literal(), literals_pb2.Literal(), literals_pb2.Literal()
    table.scalar.structured_dataset.uri = "memory://m/t"
    several.collection.literals.append(blob("memory://m/a/f.txt"))
    optional.scalar.union.value.CopyFrom(blob("memory://m/a/f.txt"))
    directory = blob("memory://m/d", is_directory=True)
    values = literals(o0=blob("memory://m/a/f.txt"), o1=directory, o2=table, o3=several, o4=optional)
    done = await download(values, storage, tmp_path)
    assert all(one.error is None for one in done)
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "o0/f.txt": b"one",
        "o1/x/1": b"1",
        "o1/2": b"2",
        "o2/t": b"table",
        "o3/0/f.txt": b"one",
        "o4/f.txt": b"one",
    }


async def test_no_name_leads_out_of_the_directory(storage: Storage, tmp_path: Path) -> None:
    for uri in ("memory://m/x/..", "memory://m/x/../../etc", "memory://m/\x1b[2J", "memory://m/."):
        await storage.write(uri, b"hostile")
    hostile = literals_pb2.Literal()
    hostile.map.literals["../../../up"].CopyFrom(blob("memory://m/x/.."))
    values = literals_pb2.LiteralMap()
    for name in ("..", "/etc/passwd", "a/../../b", "\x1b[2J"):
        values.literals[name].CopyFrom(hostile)
    target = tmp_path / "inside"
    done = await download(values, storage, target)
    assert len(done) == 4
    for one in done:
        assert one.path is not None
        assert ".." not in Path(one.path).parts
        assert Path(one.path).resolve().is_relative_to(target.resolve())
        assert one.path.isprintable()


async def test_a_file_that_is_gone_is_said_and_the_others_are_copied(storage: Storage, tmp_path: Path) -> None:
    gone, there = await download(literals(a=blob("memory://m/none"), b=blob("memory://m/a/f.txt")), storage, tmp_path)
    assert (gone.path, there.error) == (None, None)
    assert "nothing is stored at memory://m/none" in str(gone.error)


async def test_files_whose_names_become_the_same_are_all_copied(storage: Storage, tmp_path: Path) -> None:
    several = literals_pb2.Literal()
    for number, key in enumerate(("a/b", "a_b", "a?b")):
        await storage.write(f"memory://m/{number}/f.txt", str(number).encode())
        several.map.literals[key].CopyFrom(blob(f"memory://m/{number}/f.txt"))
    for name in ("one two.csv", "one_two.csv"):
        await storage.write(f"memory://m/names/{name}", name.encode())
    values = literals(o0=several, o1=blob("memory://m/names", is_directory=True))
    done = await download(values, storage, tmp_path)
    assert all(one.error is None for one in done)
    assert {Path(str(one.path)).read_text() for one in done} == {"0", "1", "2", "one two.csv", "one_two.csv"}
    assert len({one.path for one in done}) == 5


async def test_a_file_with_the_name_of_a_directory_keeps_no_other_from_being_copied(
    storage: Storage, tmp_path: Path
) -> None:
    for name in ("a", "a/b", "c"):
        await storage.write(f"memory://m/s/{name}", name.encode())
    a, b, c = await download(literals(o0=blob("memory://m/s", is_directory=True)), storage, tmp_path)
    assert (a.error, c.error) == (None, None)
    assert "cannot be written" in str(b.error)


async def test_an_object_that_stands_for_a_directory_is_no_file(storage: Storage, tmp_path: Path) -> None:
    await storage.write("memory://m/d/", b"")
    done = await download(literals(o0=blob("memory://m/d", is_directory=True)), storage, tmp_path)
    assert sorted(one.uri for one in done) == ["memory://m/d/2", "memory://m/d/x/1"]


async def test_as_many_files_as_the_limit_are_copied_and_one_more_is_refused(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propeller.cli._downloads.MAX_FILES", 2)
    assert len(await download(literals(o0=blob("memory://m/d", is_directory=True)), storage, tmp_path)) == 2
    with pytest.raises(PropellerError, match="more than 2 files"):
        await download(
            literals(o0=blob("memory://m/d", is_directory=True), o1=blob("memory://m/a/f.txt")), storage, tmp_path
        )


async def test_a_file_that_cannot_be_copied_again_stays_as_it_was(storage: Storage, tmp_path: Path) -> None:
    values = literals(a=blob("memory://m/a/f.txt"))
    await download(values, storage, tmp_path)
    await storage.delete("memory://m/a/f.txt")
    (again,) = await download(values, storage, tmp_path)
    assert again.error is not None
    assert (tmp_path / "a/f.txt").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["f.txt"]


async def test_a_directory_that_cannot_be_written_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"cannot be written: File name too long; name another directory with --download"):
        await download(literals(a=blob("memory://m/a/f.txt")), storage, tmp_path / ("x" * 300))
