"""What is left of a job beside a node's outputs is a stranger's: it names no job of others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from propeller.cli._jobs import job_of
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.workflow import JOB_FILE, JobRecord
from tests.unit.handlers.build import World, graph, task, template

RECORD = JobRecord("SUCCEEDED", task_type="trino", version=2, id=b"query-1", since=1_700_000_000.0, service="warehouse")


async def found(data: bytes) -> JobRecord | None:
    view = World(graph(task("n0")), {"t": template(type="trino", taskTypeVersion=2)}).node("n0")
    store = MemoryStore({f"{view.execution.output_directory(view.number, 0)}/{JOB_FILE}": data})
    async with Storage(StorageOptions(), stores={"memory": store}) as storage:
        job = await job_of(view, 0, storage)
    return None if job is None else job.record


async def test_a_job_is_known_by_what_it_has_left() -> None:
    assert await found(msgspec.json.encode(RECORD)) == RECORD


@pytest.mark.parametrize(
    "change", [{"task_type": "hive"}, {"version": 1 << 40}, {"version": 1}, {"since": 1e300}, {"since": -1e300}]
)
async def test_what_the_attempt_cannot_have_left_is_no_job(change: dict[str, Any]) -> None:
    assert await found(msgspec.json.encode(msgspec.structs.replace(RECORD, **change))) is None


@pytest.mark.parametrize("data", [b"", b"[", b"[" * 100_000, b'{"phase": 1}', b" " * (1 << 20)])
async def test_what_is_no_record_is_no_job(data: bytes) -> None:
    assert await found(data) is None
