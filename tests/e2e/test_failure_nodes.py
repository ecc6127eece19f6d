"""Failure nodes (`on_failure`): what they get, and whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Propeller
from tests.e2e.test_run_as_flytekit import Flow

pytestmark = pytest.mark.needs("embedded", "flytekit")

FLOW = """
from flytekit.types.error.error import FlyteError
@task
def bad(a: int) -> int:
    if a:
        raise ValueError(f"no {a}")
    return a
@task
def clean_inner(where: str, a: int, err: typing.Optional[FlyteError] = None):
    assert err is not None
    open(f"{where}/inner", "w").write(f"{a} {err.failed_node_id} {'no 3' in err.message}")
@task
def clean_child(where: str, a: int, err: typing.Optional[FlyteError] = None):
    assert err is not None
    open(f"{where}/child", "w").write(f"{a} {err.failed_node_id} {'no 3' in err.message}")
@task
def clean_outer(where: str, a: int, err: typing.Optional[FlyteError] = None):
    assert err is not None
    open(f"{where}/outer", "w").write(f"{a} {err.failed_node_id} {'no 3' in err.message}")
@workflow(on_failure=clean_inner)
def inner(where: str, a: int) -> int:
    return bad(a=a)
@workflow(on_failure=clean_child)
def child(where: str, a: int) -> int:
    return inner(where=where, a=a)
plan = LaunchPlan.get_or_create(child, "plan")
@workflow(on_failure=clean_outer)
def outer(where: str, a: int) -> int:
    return plan(where=where, a=a)
"""


def test_sub_workflows_launch_plans_and_workflows_run_their_own_with_error_node_and_inputs(
    propeller: Propeller, flow: Flow, tmp_path: Path
) -> None:
    where = tmp_path / "notes"
    where.mkdir()
    ended = propeller.run(flow(FLOW), "outer", "--where", str(where), "--a", "3", "--output", "json")
    assert ended.code == 1
    assert "no 3" in json.loads(ended.out)["error"]["message"]
    notes = {path.name: path.read_text() for path in where.iterdir()}
    assert notes == {"inner": "3 n0-0-n0 True", "child": "3 n0-0-n0 True", "outer": "3 n0 True"}
