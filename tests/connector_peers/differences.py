"""Compare what two controllers have asked of a connector service, and how their workflows have ended."""

from __future__ import annotations

import collections
import fnmatch
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.connector_peers.recorder import Call

RECORDED = Path(__file__).with_name("flytepropeller.json")
"""What FlytePropeller has done, as `tools/compare_flytepropeller.py --record` writes it."""

MEANT: Sequence[tuple[str, str]] = ()
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
            calls.append(msgspec.structs.replace(call, deadline=math.ceil(call.deadline)))
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
            said = {"request": call.request, "headers": call.headers, "deadline": math.ceil(call.deadline)}
            if said not in found[f"{call.of} {call.operation}"]:
                found[f"{call.of} {call.operation}"].append(said)
    return {of: said[0] if len(said) == 1 else said for of, said in found.items()}


def _differ(where: str, theirs: Any, ours: Any) -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from _differ(f"{where}.{key}", theirs.get(key), ours.get(key))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differ(f"{where}[{number}]", one, other)
    elif theirs != ours:
        yield f"{where}: {_text(theirs)} | {_text(ours)}"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:400]


def reason(difference: str) -> str:
    """Why a difference is meant, "" if it is not."""
    return next((why for pattern, why in MEANT if fnmatch.fnmatchcase(difference, pattern)), "")
