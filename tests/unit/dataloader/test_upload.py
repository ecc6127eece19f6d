"""Files become outputs of the types that the task declares."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flyteidl.core import errors_pb2, interface_pb2, literals_pb2, types_pb2
from google.protobuf import json_format

from propeller.dataloader import Limits, ProgramFailed, Upload, run_upload, upload
from propeller.errors import Invalid, StorageError
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.unit.storage.values import Literal, literal

T = types_pb2.LiteralType
INT, FLOAT, TEXT, BOOL = (
    T(simple=one) for one in (types_pb2.INTEGER, types_pb2.FLOAT, types_pb2.STRING, types_pb2.BOOLEAN)
)
FILE = T(blob=types_pb2.BlobType(format="csv"))
DIRECTORY = T(blob=types_pb2.BlobType(dimensionality=types_pb2.BlobType.MULTIPART))


class Task:
    """Writes files to `directory`, which are uploaded."""

    def __init__(self, storage: Storage, store: Path, directory: Path, limits: Limits) -> None:
        self.storage, self.store, self.directory, self.limits = storage, store, directory, limits
        directory.mkdir()

    def wrote(self, path: str, content: str | bytes) -> None:
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    async def gives(self, **types: T) -> dict[str, Literal]:
        outputs = {name: interface_pb2.Variable(type=type_) for name, type_ in types.items()}
        prefix, raw = f"file://{self.store}/metadata/0", f"{self.store}/raw/ab/e-n0-0"
        await upload(self.storage, outputs, self.directory, prefix, raw, self.limits)
        data = (self.store / "metadata/0/outputs.pb").read_bytes()
        return dict(literals_pb2.LiteralMap.FromString(data).literals)


@pytest.fixture
def task(storage: Storage, store: Path, tmp_path: Path, limits: Limits) -> Task:
    return Task(storage, store, tmp_path / "outputs", limits)


def simple(kind: int) -> T:
    return T(simple=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (INT, " 42\n", 42),
        (INT, "-7", -7),
        (FLOAT, "1e3", 1000.0),
        (FLOAT, "5", 5.0),
        (TEXT, "hello\n", "hello"),
        (TEXT, "", ""),
        (BOOL, "True", True),
        (BOOL, "0", False),
    ],
)
async def test_a_value_is_the_text_of_its_file(task: Task, type_: T, text: str, value: Any) -> None:
    task.wrote("x", text)
    assert (await task.gives(x=type_))["x"] == literal(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h2m3.5s", "3723.500s"), ("300ms", "0.300s"), ("-1s", "-1s"), ("0", "0s"), ("1 day, 0:00:05", "86405s")],
)
async def test_a_duration_is_gos_or_pythons(task: Task, text: str, seconds: str) -> None:
    task.wrote("x", text)
    found = (await task.gives(x=simple(types_pb2.DURATION)))["x"]
    assert found.scalar.primitive.duration.ToJsonString() == seconds


@pytest.mark.parametrize("text", ["2026-01-31T08:00:00Z", "2026-01-31T09:00:00+01:00", "2026-01-31 08:00:00"])
async def test_a_time_is_rfc_3339_or_isos(task: Task, text: str) -> None:
    task.wrote("x", text)
    found = (await task.gives(x=simple(types_pb2.DATETIME)))["x"]
    assert found.scalar.primitive.datetime.ToJsonString() == "2026-01-31T08:00:00Z"


async def test_other_types_of_values(task: Task) -> None:
    task.wrote("s", '{"a": [1, null]}')
    task.wrote("b", b"\0\xff")
    task.wrote("e", "red\n")
    found = await task.gives(
        s=simple(types_pb2.STRUCT),
        b=simple(types_pb2.BINARY),
        e=T(enum_type=types_pb2.EnumType(values=["red", "blue"])),
    )
    assert json_format.MessageToDict(found["s"].scalar.generic) == {"a": [1, None]}
    assert found["b"].scalar.binary.value == b"\0\xff"
    assert found["e"] == literal("red")


async def test_files_and_directories_are_uploaded_below_the_raw_outputs(task: Task) -> None:
    task.wrote("f.csv", "a,b")
    task.wrote("d/one", "1")
    task.wrote("d/deep/two", "2")
    found = await task.gives(f=FILE, d=DIRECTORY)
    raw = f"{task.store}/raw/ab/e-n0-0"  # as flytekit writes it: it cannot read a directory by file://
    assert found["f"].scalar.blob.uri == f"{raw}/f"
    assert found["f"].scalar.blob.metadata.type.format == "csv"
    assert found["d"].scalar.blob.metadata.type.dimensionality == types_pb2.BlobType.MULTIPART
    assert (task.store / "raw/ab/e-n0-0/f").read_text() == "a,b"
    assert (task.store / "raw/ab/e-n0-0/d/deep/two").read_text() == "2"


async def test_tables_are_directories_for_their_readers(task: Task) -> None:
    task.wrote("t.parquet", "one file")
    task.wrote("s/00000", "a directory")
    found = await task.gives(t=T(structured_dataset_type={}), s=T(schema={}))
    assert found["t"].scalar.structured_dataset.metadata.structured_dataset_type.format == "parquet"
    assert found["t"].scalar.structured_dataset.uri.endswith("/e-n0-0/t")
    assert (task.store / "raw/ab/e-n0-0/t/00000").read_text() == "one file"
    assert found["s"].scalar.schema.uri.endswith("/e-n0-0/s")


async def test_lists_and_maps_are_directories(task: Task) -> None:
    for number in range(12):
        task.wrote(f"xs/{number}", str(number))
    task.wrote("fs/0.csv", "first")
    task.wrote("m/k", "v")
    found = await task.gives(xs=T(collection_type=INT), fs=T(collection_type=FILE), m=T(map_value_type=TEXT))
    assert found["xs"] == literal(list(range(12)))
    assert found["m"] == literal({"k": "v"})
    assert found["fs"].collection.literals[0].scalar.blob.uri.endswith("/e-n0-0/fs/0")


@pytest.mark.parametrize(
    ("text", "variant"), [("5", "integer"), ("five", "string_value"), ("null", None), (None, None)]
)
async def test_a_union_is_the_first_variant_that_fits(task: Task, text: str | None, variant: str | None) -> None:
    if text is not None:
        task.wrote("x", text)
    union = T(union_type=types_pb2.UnionType(variants=[INT, TEXT, simple(types_pb2.NONE)]))
    found = (await task.gives(x=union))["x"].scalar.union
    assert found.value.scalar.primitive.WhichOneof("value") == variant
    assert found.type.simple == {"integer": types_pb2.INTEGER, "string_value": types_pb2.STRING}.get(variant or "", 0)


@pytest.mark.parametrize(
    ("type_", "text", "why"),
    [
        (INT, "4.5", "'4.5' is no integer of 64 bits"),
        (INT, str(2**63), "no integer of 64 bits"),
        (INT, "1_0", "no integer"),
        (FLOAT, "1_0", "no number"),
        (BOOL, "yes", "no boolean"),
        (TEXT, b"\xff", "no UTF-8"),
        (simple(types_pb2.DATETIME), "yesterday", "no time"),
        (simple(types_pb2.DURATION), "long", "no duration"),
        (simple(types_pb2.DURATION), "9" * 18 + "h", "longer than a duration may be"),
        (simple(types_pb2.STRUCT), "[1]", "no object"),
        (simple(types_pb2.STRUCT), "{", "no JSON"),
        (T.FromString(b"\x08\x63"), "x", "type number 99 cannot be read from a file"),
        (T(enum_type=types_pb2.EnumType(values=["red"])), "green", "none of \\['red'\\]"),
        (TEXT, "y" * 1001, "a value may have 1000"),
        (DIRECTORY, "x", "declared as a directory"),
        (T(collection_type=INT), "1", "a directory is expected"),
        (T(union_type=types_pb2.UnionType(variants=[INT, BOOL])), "x", "fits none of its types"),
    ],
)
async def test_another_type_is_refused_and_named(task: Task, type_: T, text: str | bytes, why: str) -> None:
    task.wrote("x", text)
    with pytest.raises(Invalid, match=f"output 'x'.*{why}"):
        await task.gives(x=type_)
    assert not (task.store / "metadata").exists()


async def test_a_missing_output_is_named_with_what_there_is(task: Task) -> None:
    task.wrote("y", "1")
    with pytest.raises(Invalid, match=r"output 'x' is missing: .*outputs has \['y'\]"):
        await task.gives(x=INT, y=INT)


async def test_an_ambiguous_extension_is_refused(task: Task) -> None:
    task.wrote("x.csv", "")
    task.wrote("x.txt", "")
    with pytest.raises(Invalid, match="ambiguous"):
        await task.gives(x=FILE)


async def test_a_list_with_a_gap_is_refused(task: Task) -> None:
    task.wrote("xs/0", "1")
    task.wrote("xs/2", "1")
    with pytest.raises(Invalid, match="named 0, 1, 2 and so on"):
        await task.gives(xs=T(collection_type=INT))


def link(task: Task) -> None:
    (task.directory / "x").symlink_to("/etc/passwd")


def link_in_directory(task: Task) -> None:
    (task.directory / "x").mkdir()
    (task.directory / "x/secret").symlink_to("/etc/passwd")


def directory_link(task: Task) -> None:
    (task.directory / "x").mkdir()
    (task.directory / "x/etc").symlink_to("/etc")


def fifo(task: Task) -> None:
    os.mkfifo(task.directory / "x")


@pytest.mark.parametrize("put", [link, link_in_directory, directory_link, fifo])
@pytest.mark.parametrize("type_", [FILE, DIRECTORY, TEXT, T(map_value_type=TEXT)])
async def test_nothing_but_files_of_the_directory_is_read(task: Task, put: Callable[[Task], None], type_: T) -> None:
    put(task)
    with pytest.raises(Invalid, match="output 'x'"):
        await task.gives(x=type_)


async def test_limits_of_files_bytes_and_depth(task: Task) -> None:
    for number in range(21):
        task.wrote(f"many/{number}", "")
    task.wrote("large/a", b"x" * 6000)
    task.wrote("large/b", b"x" * 6000)
    task.wrote("deep/1/2/3/4/5/6", "x")
    for name, why in (("many", "max_files"), ("large", "max_bytes"), ("deep", "max_depth")):
        with pytest.raises(Invalid, match=why):
            await task.gives(**{name: DIRECTORY})


async def test_an_error_file_fails_the_task_with_its_text(task: Task) -> None:
    task.wrote("x", "1")
    task.wrote("_ERROR", "no such station\n")
    with pytest.raises(Invalid, match=r"^User Error: no such station$"):
        await task.gives(x=INT)


async def test_an_error_file_over_its_limit_is_refused(task: Task) -> None:
    task.wrote("_ERROR", b"x" * (1024 * 1024 + 1))
    with pytest.raises(Invalid, match="_ERROR of 1048577 bytes"):
        await task.gives(x=INT)


@pytest.mark.parametrize("name", ["**", "*", "[a-z]", "?"])
async def test_an_optional_output_of_any_name_is_none_if_nothing_of_that_name_is_there(task: Task, name: str) -> None:
    task.wrote("x.txt", "1")
    optional = T(union_type=types_pb2.UnionType(variants=[INT, simple(types_pb2.NONE)]))
    found = (await task.gives(**{name: optional}))[name].scalar.union
    assert found.value.scalar.HasField("none_type")


async def test_an_output_named_as_the_file_of_errors_is_refused(task: Task) -> None:
    with pytest.raises(Invalid, match="an output is named _ERROR"):
        await task.gives(_ERROR=T(union_type=types_pb2.UnionType(variants=[INT, simple(types_pb2.NONE)])))


@pytest.fixture
def as_another_user(limits: Limits) -> Iterator[Task]:
    """The superuser may read all; who uploads is often another one than who wrote."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        before = os.geteuid()
        os.seteuid(before or 65534)
        try:
            (place / "store").mkdir()
            settings = StorageOptions(metadata_prefix=f"file://{place}/store")
            yield Task(Storage(settings, trusting=True), place / "store", place / "outputs", limits)
        finally:
            os.seteuid(before)


OPTIONAL = T(union_type=types_pb2.UnionType(variants=[INT, simple(types_pb2.NONE)]))


@pytest.mark.parametrize(
    ("type_", "closed", "mode"),
    [
        (T(collection_type=INT), "x", 0o000),
        (T(collection_type=INT), "x", 0o444),
        (T(collection_type=OPTIONAL), "x", 0o444),
        (T(map_value_type=INT), "x", 0o111),
        (DIRECTORY, "x", 0o000),
        (DIRECTORY, "x", 0o444),
        (T(collection_type=INT), ".", 0o000),
        (OPTIONAL, ".", 0o000),
        (OPTIONAL, ".", 0o444),
    ],
)
async def test_what_is_in_a_closed_directory_is_an_error_and_never_none(
    as_another_user: Task, type_: T, closed: str, mode: int
) -> None:
    as_another_user.wrote("x" if type_ == OPTIONAL else "x/0", "1")
    place = as_another_user.directory / closed
    place.chmod(mode)
    try:
        with pytest.raises(Invalid, match=r"^(_ERROR|output 'x').* is closed to other users: .*chmod a\+r"):
            await as_another_user.gives(x=type_)
    finally:
        place.chmod(0o755)


async def test_all_values_together_have_a_limit_and_each_counts_once(task: Task) -> None:
    for item in range(10):
        task.wrote(f"x/{item}", "y" * 1000)
    texts = T(collection_type=T(union_type=types_pb2.UnionType(variants=[INT, BOOL, TEXT])))
    await task.gives(x=texts)
    task.storage = Storage(StorageOptions(max_blob_bytes=9_999), trusting=True)
    with pytest.raises(Invalid, match=r"'x'\[9\] fits none .*all values together have more than 9999 bytes"):
        await task.gives(x=texts)


async def test_values_count_as_files(task: Task) -> None:
    for item in range(21):
        task.wrote(f"x/{item % 3}/{item // 3}", "1")
    with pytest.raises(Invalid, match="more than 20 files"):
        await task.gives(x=T(collection_type=T(collection_type=INT)))


async def test_items_with_extensions_are_not_looked_for_one_by_one(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was looked for among all of them, so that 5,000 took minutes."""
    looks: list[object] = []

    def counted(look: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            looks.append(given)
            return look(*given)

        return called

    for item in range(15):
        task.wrote(f"x/{item}.txt", str(item))
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    found = (await task.gives(x=T(collection_type=INT)))["x"].collection.literals
    assert [one.scalar.primitive.integer for one in found] == list(range(15))
    assert len(looks) < 5


class FailsAtFirst(MemoryStore):
    """Refuses the first write of each blob."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    def write_now(self, uri: str, data: bytes) -> bool:
        if uri not in self.refused:
            self.refused.add(uri)
            raise StorageError(f"{uri} was not written")
        return super().write_now(uri, data)


async def test_what_a_program_says_of_its_failure_is_written_also_if_the_store_fails_at_first(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propeller.dataloader._patience._FIRST_PAUSE", 0.0)
    task.wrote("_ERROR", "no such column")
    task.wrote("../ended", "0")
    store = FailsAtFirst()
    work = Upload(
        outputs=interface_pb2.VariableMap(),
        directory=task.directory,
        prefix="memory://bucket/0",
        raw="memory://bucket/raw",
        limits=task.limits,
        timeout=60.0,
        marks=None,
        ended=task.directory.parent / "ended",
    )
    async with Storage(stores={"memory": store}) as storage:
        with pytest.raises(ProgramFailed, match="no such column"):
            await run_upload(work, storage)
        document = errors_pb2.ErrorDocument.FromString(await storage.read("memory://bucket/0/error.pb"))
    assert document.error.message == "User Error: no such column"
