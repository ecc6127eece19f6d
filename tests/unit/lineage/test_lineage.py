"""OpenLineage events: what is in them, and that they delay and fail nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyteidl.core import literals_pb2, types_pb2

from propeller.clock import SYSTEM_CLOCK
from propeller.lineage import Emitter, Job, LineageOptions, Report, State, datasets_of, encode_event, run_id
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import LineageMetrics
from propeller.testing import eventually, free_ports
from propeller.wire import Literals
from tests.unit.lineage.receiver import Receiver, check

PARENT = Job("ns", "flow.wf", run_id("uid"), "WORKFLOW")


def report(node: str = "n0", state: State = State.COMPLETE, **fields: Any) -> Report:
    job = Job("ns", f"flow.wf.{node}", run_id("uid", node, 0), "TASK")
    return Report(state, 1_700_000_000.5, job, PARENT, {"execution": "ns/w", "node": node}, **fields)


def literals(**values: literals_pb2.Literal) -> Literals:
    return Literals(literals_pb2.LiteralMap(literals=values).SerializeToString())


def blob(uri: str, format_: str = "") -> literals_pb2.Literal:
    kind = literals_pb2.BlobMetadata(type=types_pb2.BlobType(format=format_))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri, metadata=kind)))


@asynccontextmanager
async def emitter(**options: Any) -> AsyncIterator[tuple[Emitter, LineageMetrics, Storage]]:
    metrics = LineageMetrics()
    async with Storage(StorageOptions()) as storage:
        made = Emitter(LineageOptions(**options), storage, SYSTEM_CLOCK, metrics)
        async with made.running():
            yield made, metrics, storage


def test_an_event_is_as_openlineage_describes_it() -> None:
    event = check(msgspec.json.decode(encode_event(report(state=State.FAIL, error="USER Bug: no"), [], [], "1.2")))
    assert event["eventTime"] == "2023-11-14T22:13:20.500000Z"
    assert event["run"]["runId"] == run_id("uid", "n0", 0) != run_id("uid", "n0", 1) != run_id("uid")
    parent = event["run"]["facets"]["parent"]
    assert (parent["run"]["runId"], parent["job"]["name"]) == (run_id("uid"), "flow.wf")
    assert event["run"]["facets"]["errorMessage"]["message"] == "USER Bug: no"
    assert event["job"] | {"facets": {}} == {"namespace": "ns", "name": "flow.wf.n0", "facets": {}}


def test_an_error_is_bounded_and_without_credentials() -> None:
    error = "password=hunter2 " + "x" * 1_000_000
    event = encode_event(report(state=State.FAIL, error=error), [], [], "1.2")
    assert b"hunter2" not in event
    assert len(event) < 20_000


def test_files_and_tables_are_datasets_wherever_they_are_in_literals() -> None:
    column = types_pb2.StructuredDatasetType.DatasetColumn(
        name="a", literal_type=types_pb2.LiteralType(simple=types_pb2.INTEGER)
    )
    kind = types_pb2.StructuredDatasetType(columns=[column], format="parquet")
    table = literals_pb2.StructuredDataset(
        uri="s3://bucket/t", metadata=literals_pb2.StructuredDatasetMetadata(structured_dataset_type=kind)
    )
    files = literals_pb2.LiteralCollection(
        literals=[blob("file:///tmp/f", "csv"), blob("/tmp/g"), blob("s3://bucket/k/x%20y"), blob("s3://bucket/t")]
    )
    found = datasets_of(
        literals(
            a=literals_pb2.Literal(scalar=literals_pb2.Scalar(structured_dataset=table)),
            b=literals_pb2.Literal(collection=files),
            c=literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=3))),
        ),
        1000,
    )
    assert [(one.namespace, one.name, one.format) for one in found] == [
        ("s3://bucket", "t", "parquet"),
        ("file", "/tmp/f", "csv"),
        ("file", "/tmp/g", ""),
        ("s3://bucket", "k/x y", ""),
    ]
    assert found[0].columns == (("a", "integer"),)
    check(msgspec.json.decode(encode_event(report(), found, found, "1.2")))


def test_what_signs_a_url_is_no_part_of_a_dataset_and_there_are_not_a_million() -> None:
    (found,) = datasets_of(literals(a=blob("https://me:hunter2@host/f?X-Amz-Signature=hunter2")), 1000)
    assert "hunter2" not in f"{found}"
    many = literals_pb2.LiteralCollection(literals=[blob(f"s3://b/{n}") for n in range(1000)])
    assert len(datasets_of(literals(a=literals_pb2.Literal(collection=many)), 100_000)) == 100


async def test_events_arrive_with_the_datasets_of_inputs_and_outputs_and_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    async with Receiver().running() as receiver:
        async with emitter(url=receiver.url, token_file=str(tmp_path / "token")) as (used, metrics, storage):
            data = literals_pb2.LiteralMap(literals={"o0": blob("s3://b/o")}).SerializeToString()
            await storage.write("memory://m/outputs.pb", data)
            used.submit(report(inputs=literals(x=blob("s3://b/i")), outputs="memory://m/outputs.pb"))
        (event,) = receiver.events
    assert [one["name"] for one in event["inputs"] + event["outputs"]] == ["i", "o"]
    assert receiver.tokens == ["Bearer hunter2"]
    assert metrics.events.counts == {("sent",): 1}


async def test_outputs_that_are_gone_or_broken_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async with Receiver().running() as receiver:
        async with emitter(url=receiver.url) as (used, _, storage):
            await storage.write("memory://m/broken.pb", b"\xff" * 50)
            used.submit(report(inputs="memory://m/gone.pb", outputs="memory://m/broken.pb"))
        assert receiver.events[0]["outputs"] == []
    assert "lacks its datasets" in caplog.text


async def test_a_receiver_that_fails_gets_them_again_and_one_that_refuses_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Receiver().running() as receiver:
        receiver.answers = [500, 429]
        async with emitter(url=receiver.url) as (used, metrics, _):
            used.submit(report())
            await eventually(lambda: bool(receiver.events))
            receiver.answers = [400]
            used.submit(report("n1"))
            used.submit(report("n2"))
        assert sorted(event["job"]["name"] for event in receiver.events) in (
            ["flow.wf.n0", "flow.wf.n1"],
            ["flow.wf.n0", "flow.wf.n2"],
        )
    assert metrics.events.counts == {("sent",): 2, ("failed",): 2, ("refused",): 1}
    assert "is refused, and dropped" in caplog.text


async def test_a_token_in_the_environment_may_end_with_a_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As secrets do that were made of a file."""
    monkeypatch.setenv("PROPELLER_LINEAGE_TOKEN", "hunter2\n")
    async with Receiver().running() as receiver, emitter(url=receiver.url) as (used, _, _):
        used.submit(report())
        await eventually(lambda: len(receiver.events) == 1)
    assert receiver.tokens == ["Bearer hunter2"]


async def test_events_wait_for_a_token_that_can_be_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Regression: such a token ended the sending of all events, and nobody heard so."""
    token = tmp_path / "token"
    token.write_text("hunter2\nhunter3")
    async with Receiver().running() as receiver, emitter(url=receiver.url, token_file=str(token)) as (used, _, _):
        used.submit(report())
        await eventually(lambda: "has more than one line" in caplog.text)
        assert "hunter" not in caplog.text
        token.write_text("hunter2")
        await eventually(lambda: len(receiver.events) == 1)


async def test_a_host_that_no_resolver_takes_is_one_that_is_not_reached(caplog: pytest.LogCaptureFixture) -> None:
    async with emitter(url=f"http://{'a' * 70}/api/v1/lineage", timeout=0.5) as (used, metrics, _):
        used.submit(report())
        await eventually(lambda: metrics.events.counts["failed",] >= 1)
    assert "is not reached" in caplog.text


async def test_while_the_receiver_hangs_what_exceeds_the_queue_is_dropped_and_counted() -> None:
    async with Receiver().running() as receiver:
        receiver.held.clear()
        async with emitter(url=receiver.url, queue=10, at_once=1) as (used, metrics, _):
            for number in range(30):
                used.submit(report(f"n{number}"))
            assert metrics.events.counts["dropped",] == 20
            receiver.held.set()
        assert len(receiver.events) == 10


async def test_several_are_under_way_and_those_of_a_run_keep_their_order() -> None:
    async with Receiver().running() as receiver:
        receiver.held.clear()
        async with emitter(url=receiver.url, at_once=4) as (used, _, _):
            for number in range(12):
                used.submit(report(f"n{number}", State.START))
                used.submit(report(f"n{number}", State.COMPLETE))
            await eventually(lambda: receiver.at_once == 4)
            receiver.answers = [503] * 3
            receiver.held.set()
    assert receiver.most_at_once == 4
    assert receiver.connections <= 4
    by_run: dict[str, list[str]] = {}
    for event in receiver.events:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert set(map(tuple, by_run.values())) == {("START", "COMPLETE")}
    assert len(by_run) == 12


async def test_an_event_that_is_not_taken_keeps_back_those_of_other_runs_only_in_its_lane() -> None:
    async with Receiver().running() as receiver:
        receiver.failing = run_id("uid", "n0", 0)
        async with emitter(url=receiver.url, at_once=4) as (used, metrics, _):
            for number in range(20):
                used.submit(report(f"n{number}"))
            await eventually(lambda: len(receiver.events) >= 10)
            receiver.failing = ""
    assert len(receiver.events) == 20
    assert metrics.events.counts["failed",] >= 1


async def test_a_process_that_ends_waits_for_no_receiver_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    async with emitter(url=f"http://127.0.0.1:{free_ports(1)[0]}/", timeout=0.2) as (used, metrics, _):
        used.submit(report())
        await asyncio.sleep(0)
    assert time.monotonic() - began < 30  # a bound on what hangs
    assert metrics.events.counts["failed",] >= 1
    assert "not sent: the process ends" in caplog.text


async def test_an_event_that_cannot_be_written_keeps_back_no_other(tmp_path: Path) -> None:
    async with emitter(url=f"file://{tmp_path}/events.ndjson") as (used, metrics, _):
        used.submit(report(state=State.FAIL, error="\ud800"))
        used.submit(report("n1"))
    assert len((tmp_path / "events.ndjson").read_text().splitlines()) == 1
    assert metrics.events.counts == {("sent",): 1, ("dropped",): 1}


async def test_a_file_gets_a_line_for_each_event(tmp_path: Path) -> None:
    async with emitter(url=f"file://{tmp_path}/made/events.ndjson") as (used, _, _):
        for number in range(20):
            used.submit(report(f"n{number}"))
    lines = (tmp_path / "made" / "events.ndjson").read_text().splitlines()
    names = [check(msgspec.json.decode(line))["job"]["name"] for line in lines]
    assert names == [f"flow.wf.n{number}" for number in range(20)]


WRONG = {
    "ftp://host": "write file:///absolute/path",
    "file://relative": "write file:///absolute/path",
    "http://host:port/": "http",
    "https://me:hunter2@host/": "has a user",
    "https://host/?api_key=hunter2": "write the token to PROPELLER_LINEAGE_TOKEN",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_is_none_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match=WRONG[url]) as raised:
        LineageOptions(url=url)
    assert "hunter2" not in str(raised.value)
