"""How runs of two controllers with one connector service are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.connector_peers.differences import Ended, Run, differences, read_run, write_run
from tests.connector_peers.recorder import Call

CREATE = {"template": {"type": "peer_job"}, "inputs": {"literals": {}}}


def call(operation: str = "CreateTask", request: Any = CREATE, deadline: float = 9.9, **headers: str) -> Call:
    return Call("a-b", "a-b/n0//0/ok", operation, request, headers, deadline)


def run(*calls: Call, phase: int = 3, **error: Any) -> Run:
    return Run(list(calls), {"a_b": Ended(phase, error, {})})


def found(theirs: Run, ours: Run) -> list[str]:
    return list(differences(theirs, ours, ["a_b"]))


def test_equal_runs_have_no_differences_however_often_a_job_was_looked_at() -> None:
    look = call("GetTask", {"resource_meta": "x"})
    assert found(run(call(), look), run(call(deadline=9.2), look, look, look)) == []


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (run(call(request=CREATE | {"template": {"type": "other"}})), '.request.template.type: "peer_job" | "other"'),
        (run(call(request={"template": {"type": "peer_job"}})), '.request.inputs: {"literals": {}} | null'),
        (run(call(accept="x")), '.headers.accept: null | "x"'),
        (run(call(deadline=30.0)), ".deadline: 10 | 30"),
        (run(), "a_b a-b/n0//0/ok CreateTask: {"),
        (run(call(), call("DeleteTask", {})), "a_b a-b/n0//0/ok DeleteTask: null | {"),
        (run(call(), phase=5), "a_b end.phase: 3 | 5"),
        (run(call(), code="X"), 'a_b end.error.code: null | "X"'),
        (Run([call()], {}), '| "it has not ended"'),
    ],
)
def test_a_difference_names_its_place_and_both_values(ours: Run, says: str) -> None:
    (difference,) = found(run(call()), ours)
    assert says in difference


def test_a_recorded_run_has_each_request_once(tmp_path: Path) -> None:
    write_run(run(call(), call(deadline=9.1), call("GetTask", {})), tmp_path / "run.json")
    recorded = read_run(tmp_path / "run.json")
    assert [one.operation for one in recorded.calls] == ["CreateTask", "GetTask"]
    assert found(run(call(), call("GetTask", {})), recorded) == []
