"""FlytePropeller can read propeller's status: a field of the same name has its Go type."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from propeller.status import encode_status
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.workflow import Execution, Failure, WorkflowPhase
from tests.unit.status.test_snapshot import EVERYTHING
from tests.unit.workflow.drive import execution

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def is_time(value: Any) -> bool:
    """metav1.Time, a pointer: null is absent."""
    return value is None or bool(RFC3339.fullmatch(value))


def is_error(value: Any) -> bool:
    """flyteidl.core.ExecutionError by jsonpb, which refuses fields that it does not know."""
    if value is None:
        return True
    kinds = value.get("kind") in {"UNKNOWN", "USER", "SYSTEM"}
    return value.keys() <= {"code", "message", "kind", "errorUri"} and is_text(value["message"]) and kinds


GO: dict[str, Callable[[Any], bool]] = {
    "phase": lambda value: type(value) is int,
    "startedAt": is_time,
    "stoppedAt": is_time,
    "lastUpdatedAt": is_time,
    "message": is_text,
    "dataDir": is_text,
    "outputRef": is_text,
    "nodeStatus": lambda value: False,
    "failedAttempts": lambda value: type(value) is int,
    "error": is_error,
    "defVersion": lambda value: type(value) is int,
}
"""v1alpha1.WorkflowStatus of FlytePropeller 1.16, by JSON name. Of `nodeStatus` we write nothing."""

OURS = {"state", "counts", "currentNodes", "nodes", "nodesReference", "waits", "jobs"}
"""Names that it does not know, and drops."""


async def written(of: Execution) -> dict[str, Any]:
    async with Storage(StorageOptions(), stores={"memory": MemoryStore()}) as storage:
        return await encode_status(of, 1_700_000_000.5, 256 * 1024, storage)


async def test_every_field_of_a_status_is_readable_as_flytepropellers_or_has_a_name_of_its_own() -> None:
    running, failed = execution(EVERYTHING), execution(EVERYTHING)
    failed.phase, failed.failure, failed.ended_at = WorkflowPhase.FAILED, Failure("Boom", "it failed"), 1.0
    for status in (await written(running), await written(failed)):
        assert status.keys() <= GO.keys() | OURS
        for name in status.keys() & GO.keys():
            assert GO[name](status[name]), f"{name} is {status[name]!r}"


def test_phases_have_flytepropellers_numbers() -> None:
    """v1alpha1.WorkflowPhase."""
    assert [phase.name for phase in sorted(WorkflowPhase)] == [
        *("READY", "RUNNING", "SUCCEEDING", "SUCCEEDED", "FAILING", "FAILED", "ABORTED", "HANDLING_FAILURE_NODE")
    ]
