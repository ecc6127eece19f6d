"""Compare what two controllers have asked of a connector service, and how their workflows have ended."""

from __future__ import annotations

import collections
import fnmatch
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.connector_peers.recorder import Call

RECORDED = Path(__file__).with_name("flytepropeller.json")
"""What FlytePropeller has done, as `tools/compare_flytepropeller.py --record` writes it."""

JOB = "the annotation propeller/job identifies an attempt to its service"
INTERRUPTIBLE = "connectors are told whether an attempt is interruptible"
DIRECTORY = "the data of a branch's case are beside those of the branch, not below"
NODE = (
    "a node within a sub-workflow is named by its unique id, as in events, where FlytePropeller has two with one name"
)
POD = "a pod has no empty fields, no amounts of 0, and ends with its container's last log lines"
RETRIES = "the code and the message of an error are those of the last attempt, without a count before"
CODES = "the error code and kind that a service gives to a failed job count for async tasks, too"
SYSTEM = "a service that answers with errors is the system's fault, and the attempt is made again"
REFUSED = "a request that a service calls invalid is final"
OUTPUTS = "outputs that are missing fail the attempt, by the user's fault"
MAPPED = "map tasks over connector tasks run; FlytePropeller 1.16.8 cannot read its own plugin state of their items"
WORDS = "the service's message is always there, in one line"
GO = "Go's protobuf prints one blank or two between fields, by the build"
FAILED = "a job that its service says has failed is not deleted before the next attempt"

MEANT: Sequence[tuple[str, str]] = (
    ("*.annotations.propeller/job: null | *", JOB),
    ("*.task_execution_metadata.interruptible: null | true", INTERRUPTIBLE),
    ("branch *Task.request.output_prefix: *", DIRECTORY),
    ('nested *.node_execution_id.node_id: "n0" | "n[01]-0-n0"', NODE),
    ("*.pod_spec.affinity: {} | null", POD),
    ("*.pod_spec.containers*.terminationMessagePolicy: null | *", POD),
    ('*.pod_spec.containers*.resources.*: {*"0"*} | null', POD),
    ('* end.error.message: "?[0-9]/[0-9]? currentAttempt done. Last Error: USER::failed to run *', RETRIES),
    ('* end.error.message: "?[0-9]/[0-9]? currentAttempt done. Last Error: USER::task execution timeout *', RETRIES),
    ('* end.error.code: "RetriesExhausted|TaskFailedWithError" | "TaskFailedWithError"', RETRIES),
    ('* end.error.code: "RetriesExhausted|TimeoutExpired" | "TimeoutExpired"', RETRIES),
    ('has_code end.error.code: "TaskFailedWithError" | "QuotaExceeded"', CODES),
    ("has_code_and_retry *", CODES),
    ("cannot_be_seen *", SYSTEM),
    ("is_forgotten *", SYSTEM),
    ("cannot_begin *", SYSTEM),
    ("is_refused end.error.*", REFUSED),
    ("sync_is_refused end.error.*", REFUSED),
    ("lacks_outputs end.error.*", OUTPUTS),
    ("loses_outputs end.error.*", OUTPUTS),
    ("mapped *", MAPPED),
    ('is_aborted end.error.message: "failed to run the job with aborted phase." | *', WORDS),
    ('old_fails end.error.message: "failed to run the job.?nthe query is wrong" | *', WORDS),
    ('templates *.args?5?: "--took=seconds:3602 * nanos:5000000" | "--took=seconds:3602 nanos:5000000"', GO),
    ("exhausts exhausts/n0//0/exhausting DeleteTask: {*} | null", FAILED),
    ("is_retried is-retried/n0//0/flaky DeleteTask: {*} | null", FAILED),
)
"""Patterns of differences that are meant, and why."""


class Ended(msgspec.Struct, frozen=True):
    """How a workflow has ended."""

    phase: int
    error: dict[str, Any]
    outputs: dict[str, Any]


class Run(msgspec.Struct, frozen=True):
    """What came of all workflows with one controller."""

    calls: list[Call]
    ends: dict[str, Ended]


def write_run(run: Run, path: Path) -> None:
    """Write a run, with each request of a job once."""
    seen: set[bytes] = set()
    calls = []
    for call in run.calls:
        said = msgspec.json.encode(msgspec.structs.replace(call, deadline=0.0))
        if said not in seen:
            seen.add(said)
            calls.append(msgspec.structs.replace(call, deadline=round(call.deadline)))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(Run(calls, run.ends)), indent=1))


def read_run(path: Path) -> Run:
    return msgspec.json.decode(path.read_bytes(), type=Run)


def differences(theirs: Run, ours: Run, names: Sequence[str]) -> Iterator[str]:
    """What differs, a line each: where, FlytePropeller's, ours."""
    for name in names:
        execution = name.replace("_", "-")
        yield from _differ(f"{name} end", _end_of(theirs, name), _end_of(ours, name))
        left, right = (_by_call(run, execution) for run in (theirs, ours))
        for of in sorted(left.keys() | right.keys()):
            yield from _differ(f"{name} {of}", left.get(of), right.get(of))


def _end_of(run: Run, name: str) -> Any:
    return msgspec.to_builtins(run.ends[name]) if name in run.ends else "it has not ended"


def _by_call(run: Run, execution: str) -> dict[str, Any]:
    """The different requests of an execution: how often a job is looked at is each controller's own affair."""
    found: dict[str, list[Any]] = collections.defaultdict(list)
    for call in run.calls:
        if call.execution == execution:
            said = {"request": call.request, "headers": call.headers, "deadline": 5 * round(call.deadline / 5)}
            if said not in found[f"{call.of} {call.operation}"]:
                found[f"{call.of} {call.operation}"].append(said)
    return {of: said[0] if len(said) == 1 else said for of, said in found.items()}


def _differ(where: str, theirs: Any, ours: Any) -> Iterator[str]:
    if fnmatch.fnmatchcase(where, "*.pod_spec.containers?*.env") and theirs and ours:
        theirs, ours = _by_name(theirs), _by_name(ours)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from _differ(f"{where}.{key}", theirs.get(key), ours.get(key))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differ(f"{where}[{number}]", one, other)
    elif theirs != ours:
        yield f"{where}: {_text(theirs)} | {_text(ours)}"


def _by_name(variables: list[dict[str, Any]]) -> dict[str, Any]:
    """Variables of a container, whose order differs; none of them refers to another one."""
    return {one["name"]: one for one in variables}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:400]


def reason(difference: str) -> str:
    """Why a difference is meant, "" if it is not."""
    return next((why for pattern, why in MEANT if fnmatch.fnmatchcase(difference, pattern)), "")
