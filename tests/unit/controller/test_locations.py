"""Locations that a resource or a status gives: the controller has rights that their writer does not have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.controller._resource import FlyteWorkflow, info_of
from propeller.errors import CorruptBlob, Invalid, NotUnderstood
from propeller.kube import ObjectMeta, Raw
from propeller.status import decode_status, is_own_snapshot
from propeller.storage import MemoryStore, Storage, require_names
from propeller.wire import Literals
from propeller.workflow import ExecutionSpec
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

UID = "12345678-aaaa"
PREFIX = "s3://b/meta"
OWN = f"{PREFIX}/p-d-e-12345678"
DIGEST = "0" * 64


def workflow(project: str = "p", domain: str = "d", name: str = "e", **status: Any) -> FlyteWorkflow:
    identity = type(ExecutionSpec().execution_id)(project=project, domain=domain, name=name)
    return FlyteWorkflow(metadata=ObjectMeta(name="e", namespace="ns", uid=UID), execution_id=identity, status=status)


def directory(of: FlyteWorkflow, **options: bool) -> str:
    return info_of(of, Literals(), PREFIX, **options).directory


@pytest.mark.parametrize("named", ["", OWN, f"{PREFIX}/p-d-e"])
def test_a_status_is_believed_about_a_directory_that_would_have_been_chosen(named: str) -> None:
    assert directory(workflow(dataDir=named)) == (named or OWN)


@pytest.mark.parametrize(
    "named",
    [
        "s3://b/meta/p-d-other",
        "s3://b/meta/p-d-e-12345678/../other",
        "s3://other/meta/p-d-e",
        "file:///etc",
        7,
        ["s3://b/meta/p-d-e"],
    ],
)
def test_a_status_that_names_another_directory_is_refused_by_field_and_setting(named: object) -> None:
    with pytest.raises(NotUnderstood, match=r"status\.dataDir is .*storage\.metadata_prefix"):
        directory(workflow(dataDir=named))


def test_what_writes_nothing_there_believes_a_status() -> None:
    assert directory(workflow(dataDir="s3://other/meta/p-d-e"), anywhere=True) == "s3://other/meta/p-d-e"


@pytest.mark.parametrize("field", ["project", "domain", "name"])
@pytest.mark.parametrize("value", ["../..", "a/b", "/", "x\ny", "x\0"])
def test_an_id_that_would_climb_is_refused_by_its_field(field: str, value: str) -> None:
    with pytest.raises(Invalid, match=rf"executionId\.{field} is "):
        directory(workflow(**{field: value}))


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        (f"{OWN}/status/{DIGEST}.zst", True),
        (f"{OWN}/status/../{DIGEST}.zst", False),
        (f"{OWN}/status/{DIGEST[:-1]}.zst", False),
        (f"{OWN}/n0/data/0/outputs.pb", False),
        (f"{PREFIX}/other/status/{DIGEST}.zst", False),
        (f"{OWN}/status/{DIGEST}.zst/x", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_a_snapshot_is_an_executions_own_only_in_its_own_place(uri: object, own: bool) -> None:
    assert is_own_snapshot(uri, OWN) is own


@pytest.mark.parametrize("uri", [f"{PREFIX}/other/status/{DIGEST}.zst", "file:///etc/passwd", 7, f"{OWN}/status/x.zst"])
async def test_a_snapshot_elsewhere_is_refused_and_not_read(uri: object) -> None:
    class Unread(MemoryStore):
        async def read(self, uri: str, limit: int) -> bytes:
            pytest.fail(f"{uri} was read")

    storage = Storage(stores={"s3": Unread(), "file": Unread()})
    with pytest.raises(CorruptBlob, match=r"status\.nodesReference\.uri is"):
        await decode_status({"nodesReference": {"uri": uri, "sha256": DIGEST}}, storage, OWN)


async def ended(of: Bench, name: str = "w") -> Raw:
    await asyncio.sleep(5.0)
    status: Raw = (await of.user.get(WORKFLOWS, name, "ns"))["status"]
    assert status["phase"] == 5
    return status


async def create(of: Bench, root: Raw | None = None, **fields: Any) -> None:
    body = {"metadata": {"name": "w"}, "spec": root or graph(task("n0")), "tasks": {"t": TASK}, **fields}
    await of.user.create(WORKFLOWS, body, "ns")


@pytest.mark.parametrize("field", ["offloadedInputs", "workflowClosureReference"])
async def test_a_resource_that_names_a_file_of_the_controllers_machine_fails_by_that_field(field: str) -> None:
    async with bench() as of, of.controller():
        await create(of, None, **{field: "file:///etc/passwd"})
        status = await ended(of)
    assert status["error"]["kind"] == "USER"
    assert f"{field} is 'file:///etc/passwd'" in status["error"]["message"]
    assert "storage.read_prefixes" in status["error"]["message"]


@pytest.mark.parametrize("node", ["../../other", "a/b", "..", ".", "outputs.pb"])
async def test_a_node_whose_id_would_climb_or_hide_a_blob_is_refused_and_nothing_is_written(node: str) -> None:
    async with bench() as of, of.controller():
        await create(of, graph(task(node)))
        status = await ended(of)
        assert not await of.pods()
    assert repr(node) in status["error"]["message"]
    assert "cannot be a node's id" in status["error"]["message"]


@pytest.mark.parametrize("node", ["../../other", "a/b", "..", "outputs.pb", "n0", "n" * 256, "ü" * 128])
async def test_a_failure_nodes_id_is_refused_as_that_of_any_other(node: str) -> None:
    """Regression: it was not looked at, and its inputs were written wherever it led."""
    async with bench() as of, of.controller():
        await create(of, graph(task("n0"), onFailure=task(node)))
        status = await ended(of)
        assert not await of.pods()
    assert "spec.onFailure.id" in status["error"]["message"]
    assert node[:90] in status["error"]["message"]


@pytest.mark.parametrize(("node", "size"), [("n" * 256, 256), ("ü" * 128, 256), ("n" * 100_000, 100_000)])
async def test_a_node_whose_id_is_too_long_for_a_directory_is_refused_by_its_field(node: str, size: int) -> None:
    async with bench() as of, of.controller():
        await create(of, graph(task(node)))
        status = await ended(of)
    assert f"spec.nodes: '{node[:90]}" in status["error"]["message"]
    assert f"it has {size} bytes, over 255" in status["error"]["message"]
    assert len(status["error"]["message"]) < 400


async def test_a_node_whose_id_is_as_long_as_can_be_runs() -> None:
    async with bench() as of, of.controller():
        await create(of, graph(task("n" * 255)))
        async with asyncio.timeout(60):
            while not await of.pods():
                await asyncio.sleep(0.5)


async def test_two_nodes_of_one_id_are_refused() -> None:
    root = graph(task("n0"), task("n1"))
    root["nodes"]["n1"]["id"] = "n0"
    async with bench() as of, of.controller():
        await create(of, root)
        assert "spec.nodes.n1.id is 'n0': it must be the key" in (await ended(of))["error"]["message"]


def test_a_name_too_long_for_a_path_is_refused_by_its_field() -> None:
    with pytest.raises(Invalid, match=r"^executionId\.project is 101 bytes long"):
        require_names([("executionId.project", "x" * 101)])
    require_names([("executionId.project", "x" * 100)])
