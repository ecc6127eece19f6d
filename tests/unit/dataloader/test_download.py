"""Inputs become files, and nothing is written elsewhere."""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web
from flyteidl.core import literals_pb2, tasks_pb2, types_pb2
from google.protobuf import duration_pb2, json_format

from propeller.dataloader import Limits, download
from propeller.errors import Invalid
from propeller.storage import MemoryStore, Storage, StorageOptions, write_literals
from tests.unit.storage.values import Literal, literal

FORMS = tasks_pb2.DataLoadingConfig


class Task:
    """Downloads inputs to a directory of its own."""

    def __init__(self, storage: Storage, store: Path, directory: Path, limits: Limits) -> None:
        self.storage, self.store, self.directory, self.limits = storage, store, directory, limits

    async def gets(self, form: FORMS.LiteralMapFormat = FORMS.JSON, **values: Any) -> Path:
        inputs = literals_pb2.LiteralMap(literals={name: literal(value) for name, value in values.items()})
        await write_literals(self.storage, f"file://{self.store}/inputs.pb", inputs)
        await download(self.storage, f"file://{self.store}/inputs.pb", self.directory, form, self.limits)
        return self.directory

    def file(self, path: str, content: bytes | str) -> str:
        target = self.store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"file://{target}"


@pytest.fixture
def task(storage: Storage, store: Path, tmp_path: Path, limits: Limits) -> Task:
    return Task(storage, store, tmp_path / "inputs", limits)


def blob(uri: str, *, multipart: bool = False) -> Literal:
    dimension = types_pb2.BlobType.MULTIPART if multipart else types_pb2.BlobType.SINGLE
    found = Literal()
    found.scalar.blob.uri = uri
    found.scalar.blob.metadata.type.dimensionality = dimension
    return found


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def duration(seconds: int, nanos: int = 0) -> Literal:
    found = Literal()
    found.scalar.primitive.duration.CopyFrom(duration_pb2.Duration(seconds=seconds, nanos=nanos))
    return found


def moment(text: str) -> Literal:
    found = Literal()
    found.scalar.primitive.datetime.FromJsonString(text)
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-(2**63), "-9223372036854775808"),
        (1e21, "1000000000000000000000"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (2.0, "2"),
        (True, "true"),
        ("two\nlines", "two\nlines"),
        (None, "null"),
        (duration(3723, 500_000_000), "1h2m3.5s"),
        (duration(0, 1_500_000), "1.5ms"),
        (duration(60), "1m0s"),
        (duration(-1), "-1s"),
        (moment("2026-01-31T08:00:00.120Z"), "2026-01-31T08:00:00.12Z"),
    ],
)
async def test_a_value_is_a_file_as_go_writes_it(task: Task, value: Any, text: str) -> None:
    assert (await task.gets(x=value) / "x").read_text() == text


async def test_lists_and_maps_are_directories(task: Task) -> None:
    directory = await task.gets(xs=[1, [2, 3]], m={"k": "v", "l": []})
    assert {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()} == {
        *("xs/0", "xs/1/0", "xs/1/1", "m/k", "inputs.pb", "inputs.json")
    }
    assert (directory / "m/l").is_dir()


async def test_a_value_that_nests_deeper_than_yaml_is_written_is_refused(task: Task) -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    data = Literal()
    data.scalar.binary.value, data.scalar.binary.tag = msgspec.msgpack.encode(value), "msgpack"
    with pytest.raises(Invalid, match="nests too deep"):
        await task.gets(FORMS.YAML, x=data)


@pytest.mark.parametrize(("form", "read"), [(FORMS.JSON, json.loads), (FORMS.YAML, yaml.safe_load)])
async def test_all_values_are_in_one_file_of_the_format(task: Task, form: Any, read: Any) -> None:
    data = Literal()
    data.scalar.binary.value, data.scalar.binary.tag = msgspec.msgpack.encode({"a": [1, b"\0"]}), "msgpack"
    generic = Literal()
    json_format.ParseDict({"n": 1, "f": 0.5}, generic.scalar.generic)
    directory = await task.gets(form, x=1, xs=["a", None], m={"k": 2.5}, d=data, g=generic, t=duration(5))
    name = "inputs.json" if form == FORMS.JSON else "inputs.yaml"
    assert read((directory / name).read_text()) == {
        "x": 1,
        "xs": ["a", None],
        "m": {"k": 2.5},
        "t": "5s",
        "d": {"a": [1, "AA=="]},
        "g": {"n": 1, "f": 0.5},
    }


@pytest.mark.parametrize(("form", "read"), [(FORMS.JSON, json.loads), (FORMS.YAML, yaml.safe_load)])
async def test_values_that_only_msgpack_has_are_text_in_the_file_of_all(task: Task, form: Any, read: Any) -> None:
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    data = Literal()
    data.scalar.binary.value = msgspec.msgpack.encode({"at": moment, "own": [msgspec.msgpack.Ext(5, b"\0")]})
    data.scalar.binary.tag = "msgpack"
    directory = await task.gets(form, d=data)
    name = "inputs.json" if form == FORMS.JSON else "inputs.yaml"
    assert read((directory / name).read_text()) == {"d": {"at": "2026-01-31T12:00:00+00:00", "own": ["AA=="]}}


async def test_the_format_proto_has_no_other_file(task: Task) -> None:
    directory = await task.gets(FORMS.PROTO, x=float("inf"))
    assert names(directory) == ["inputs.pb", "x"]
    with pytest.raises(Invalid, match="metadata format PROTO"):
        await task.gets(FORMS.JSON, x=float("inf"))


async def test_blobs_are_files_and_inputs_pb_has_their_paths(task: Task) -> None:
    one = task.file("one.csv", "a,b")
    task.file("many/a.txt", "A")
    task.file("many/deep/b.txt", "B")
    directory = await task.gets(one=blob(one), many=blob(f"{task.store}/many", multipart=True), xs=[blob(one)])
    assert (directory / "one").read_text() == (directory / "xs/0").read_text() == "a,b"
    assert (directory / "many/a.txt").read_text() == "A"
    assert (directory / "many/deep/b.txt").read_text() == "B"
    found = literals_pb2.LiteralMap.FromString((directory / "inputs.pb").read_bytes()).literals
    assert found["one"].scalar.blob.uri == str(directory / "one")
    assert json.loads((directory / "inputs.json").read_text())["many"] == str(directory / "many")


async def test_tables_are_directories_of_their_files(task: Task) -> None:
    task.file("table/00000", "parquet")
    table, schema = Literal(), Literal()
    table.scalar.structured_dataset.uri = schema.scalar.schema.uri = f"file://{task.store}/table"
    directory = await task.gets(t=table, s=schema)
    assert (directory / "t/00000").read_text() == (directory / "s/00000").read_text() == "parquet"


async def test_an_offloaded_value_is_read(task: Task) -> None:
    kept = literal([1, 2]).SerializeToString()
    offloaded = Literal()
    offloaded.offloaded_metadata.uri = task.file("offloaded.pb", kept)
    offloaded.offloaded_metadata.size_bytes = len(kept)
    assert (await task.gets(xs=offloaded) / "xs/1").read_text() == "2"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"../x": 1}, "an input is named '../x'"),
        ({"..": 1}, "an input is named '..'"),
        ({"a\x1bb": 1}, "control character"),
        ({"x" * 300: 1}, "255 bytes at most"),
        ({"inputs.json": 1}, "the file of all inputs"),
        ({"m": {"../../etc/passwd": "x"}}, "an entry of input 'm' is named '../../etc/passwd'"),
        ({"xs": [[[[[[[1]]]]]]]}, "nests more than 5 directories"),
        ({"xs": list(range(30))}, "more than 20 files"),
        ({"x": "y" * 10_001}, "more than 10000 bytes"),
        ({"x": blob("file:///nowhere/x")}, "input 'x': nothing is stored at file:///nowhere/x"),
        ({"x": blob("")}, "a blob without a URI"),
        ({"x": blob("gopher://a/b")}, "its scheme must be one of"),
        ({"x": Literal()}, "literal without a value"),
    ],
)
async def test_what_cannot_be_a_file_is_refused_and_named(task: Task, values: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        await task.gets(**values)
    assert {path.name for path in task.directory.parent.iterdir()} <= {"inputs", "store"}


async def test_a_blob_over_the_bytes_that_are_left_is_refused(task: Task) -> None:
    with pytest.raises(Invalid, match="max_bytes"):
        await task.gets(x=blob(task.file("large", b"x" * 10_001)))
    with pytest.raises(Invalid, match="max_bytes"):
        await task.gets(x=blob(task.file("half", b"x" * 6000)), y=blob(task.file("half", b"x" * 6000)))


async def test_a_directory_with_too_many_files_is_refused(task: Task) -> None:
    for number in range(21):
        task.file(f"many/{number}", "")
    with pytest.raises(Invalid, match="more than 20 files"):
        await task.gets(x=blob(f"file://{task.store}/many", multipart=True))


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        (("a", "a/b"), "d/a.* cannot be written"),
        (("/".join(["x" * 200] * 25),), "cannot be written: File name too long"),
    ],
)
async def test_a_directory_that_no_file_system_can_have_is_refused(
    store: Path, tmp_path: Path, limits: Limits, objects: tuple[str, ...], why: str
) -> None:
    limits = msgspec.structs.replace(limits, depth=32)
    objects_of_s3 = MemoryStore()
    for name in objects:
        await objects_of_s3.write(f"memory://bucket/d/{name}", b"x")
    options = StorageOptions(metadata_prefix=f"file://{store}/metadata", raw_output_prefix=f"file://{store}/raw")
    async with Storage(options, stores={"memory": objects_of_s3}, trusting=True) as storage:
        task = Task(storage, store, tmp_path / "inputs", limits)
        with pytest.raises(Invalid, match=why):
            await task.gets(d=blob("memory://bucket/d", multipart=True))


async def test_a_disk_that_is_full_while_blobs_are_copied_is_an_error_with_the_path(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(uri: str, target: Any, limit: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    uri = task.file("large", b"x" * 100)
    monkeypatch.setattr(task.storage, "fetch", fetch)
    with pytest.raises(Invalid, match=f"{task.directory} cannot be written: No space left on device"):
        await task.gets(x=blob(uri), y=blob(uri))


async def test_inputs_of_many_directories_share_the_limit_of_files(task: Task) -> None:
    for number in range(9):
        task.file(f"many/{number}", "")
    several = [blob(f"file://{task.store}/many", multipart=True) for _ in range(3)]
    with pytest.raises(Invalid, match="more than 20 files"):
        await task.gets(xs=several)


class Site:
    """A server of files. `answers` are the codes of the next requests, after which it has all files."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.url = ""

    async def _give(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if self.answers else 200
        if status == 302:
            return web.Response(status=302, headers={"Location": request.path})
        return web.Response(status=status, body=b"a,b\n" * int(request.query.get("lines", "1")))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._give)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


async def test_a_file_at_a_url_is_read_through_redirects_and_failures_that_pass(task: Task) -> None:
    async with Site().running() as site:
        site.answers = [302, 200, 503]
        directory = await task.gets(one=blob(f"{site.url}/one.csv"), xs=[blob(f"{site.url}/x?lines=3")])
    assert (directory / "one").read_text() == "a,b\n"
    assert (directory / "xs/0").read_text() == "a,b\n" * 3


async def test_what_a_url_does_not_give_is_refused_without_what_signs_it(task: Task) -> None:
    async with Site().running() as site:
        url = f"{site.url}/f?X-Amz-Signature=hunter2"
        for answers, why in (([404], "answers 404"), ([302] * 6, "redirects more than 5 times")):
            site.answers = list(answers)
            with pytest.raises(Invalid, match=why) as refused:
                await task.gets(f=blob(url))
            assert "hunter2" not in str(refused.value)
        site.answers = []
        with pytest.raises(Invalid, match="max_bytes"):
            await task.gets(f=blob(f"{site.url}/f?lines=5000"))
        with pytest.raises(Invalid, match="cannot be listed"):
            await task.gets(f=blob(f"{site.url}/d", multipart=True))


@pytest.mark.parametrize("host", ["[::1", "a..example", "a" * 70, "xn--zzzzzzz--", "127.0.0.1:99999", ""])
async def test_a_url_without_a_host_that_can_be_asked_is_refused(task: Task, host: str) -> None:
    with pytest.raises(Invalid, match="is no URL that can be asked"):
        await task.gets(f=blob(f"http://{host}/f"))


async def test_a_second_run_begins_with_an_empty_directory(task: Task) -> None:
    await task.gets(xs=[1, 2], y=1)
    directory = await task.gets(xs=3)
    assert names(directory) == ["inputs.json", "inputs.pb", "xs"]
