"""Launch plans of flytekit files: started from the file's own, from dynamic tasks, and from a registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Propeller, locally
from tests.e2e.test_run_as_flytekit import Flow, outputs

pytestmark = pytest.mark.needs("embedded", "flytekit")

INC = "@task\ndef inc(a: int) -> int:\n    return a + 1\n"
CHILD = f"{INC}@workflow\ndef child(a: int) -> int:\n    return inc(a=a)\n"


def test_a_launch_plan_may_start_another(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{CHILD}inner = LaunchPlan.get_or_create(child, 'inner')\n"
        "@workflow\ndef middle(a: int) -> int:\n    return inner(a=inc(a=a))\n"
        "outer = LaunchPlan.get_or_create(middle, 'outer')\n"
        "@workflow\ndef parent(a: int) -> int:\n    return outer(a=a)\n"
    )
    assert outputs(propeller, flow(text), "parent", "--a", "1") == {"o0": 3}


def test_a_dynamic_task_may_start_the_files_launch_plans(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{CHILD}plan = LaunchPlan.get_or_create(child, 'plan', fixed_inputs={{'a': 5}})\n"
        "@dynamic\ndef many(n: int) -> typing.List[int]:\n    return [plan() for _ in range(n)]\n"
        "@workflow\ndef wf(n: int) -> typing.List[int]:\n    return many(n=n)\n"
    )
    assert outputs(propeller, flow(text), "wf", "--n", "2") == {"o0": [6, 6]}


def test_a_failure_inside_fails_the_run_with_the_authors_message(propeller: Propeller, flow: Flow) -> None:
    text = (
        "@task\ndef t(a: int):\n    raise ValueError(f'no {a}')\n@workflow\ndef child(a: int):\n    t(a=a)\n"
        "plan = LaunchPlan.get_or_create(child, 'plan')\n@workflow\ndef wf():\n    plan(a=3)\n"
    )
    ended = propeller.run(flow(text), "wf", "--output", "json")
    assert ended.code == 1
    error = json.loads(ended.out)["error"]
    assert "no 3" in error["message"]
    assert error["kind"] == "USER"


@pytest.fixture
def registry(tmp_path: Path) -> str:
    return f"file://{tmp_path}/registry"


REFERENCE = (
    "from flytekit import reference_launch_plan\n"
    "@reference_launch_plan(project='other', domain='production', name='nightly', version='v1')\n"
    "def nightly(a: int) -> int:\n    ...\n"
    "@workflow\ndef wf(a: int) -> int:\n    return nightly(a=a)\n"
)


def test_a_plan_of_another_project_runs_from_a_registry(
    propeller: Propeller, flow: Flow, registry: str, tmp_path: Path
) -> None:
    plan = f"{CHILD}nightly = LaunchPlan.get_or_create(child, 'nightly')\n"
    file = flow(plan)
    where = ("--registry", registry, "--project", "other", "--domain", "production", "--version", "v1")
    made = propeller("register", file, *where, "--python", sys.executable, "--output", "json")
    names = {(one["kind"], one["name"].rpartition(".")[2]): one["new"] for one in made.json["registered"]}
    assert names[("launch_plan", "nightly")]
    assert names[("task", "inc")]
    assert names[("workflow", "child")]
    again = propeller("register", file, *where, "--python", sys.executable)
    assert again.code == 0
    assert "registered" not in again.out
    file.write_text(file.read_text().replace("return inc(a=a)", "return inc(a=inc(a=a))"))
    changed = propeller("register", file, *where, "--python", sys.executable)
    assert changed.code == 2
    assert "is registered in" in changed.err
    assert "--version" in changed.err
    caller = tmp_path / "caller.py"
    caller.write_text(f"from flytekit import workflow\n{REFERENCE}")
    ended = propeller.run(caller, "wf", "--a", "4", "--registry", registry, "--output", "json")
    assert ended.json == {"o0": 5}
    refused = propeller.run(caller, "wf", "--a", "4")
    assert refused.code == 2
    assert "launch plan nightly (project 'other', domain 'production', version 'v1')" in refused.err
    assert "--registry URI" in refused.err


MAPPED = (
    "from flytekit.core.array_node import array_node\n"
    "@task\ndef check(a: int, b: int) -> int:\n"
    "    if a < 0:\n        raise ValueError(f'no {a}')\n    return a * 10 + b\n"
    "@workflow\ndef child(a: int, b: int = 3, c: int = 0) -> int:\n    return check(a=a, b=b)\n"
    "plan = LaunchPlan.get_or_create(child, 'plan', default_inputs={'b': 4}, fixed_inputs={'c': 2})\n"
)


def test_a_map_over_a_launch_plan_gives_what_flytekit_gives_alone(propeller: Propeller, flow: Flow) -> None:
    """flytekit alone maps over lists that stand in the file, and over no promise."""
    file = flow(
        f"{MAPPED}@workflow\ndef wf() -> typing.Tuple[typing.List[int], typing.List[typing.Optional[int]]]:\n"
        "    return map_task(plan)(a=[1, 2, 3], b=[7, 8, 9]), "
        "array_node(plan, min_success_ratio=0.5, concurrency=2)(a=[5, -1, 6], b=[1, 1, 1])\n"
    )
    found = outputs(propeller, file, "wf")
    assert found == {"o0": [17, 28, 39], "o1": [51, None, 61]}
    assert found == locally(file, "wf")


def test_a_map_over_a_launch_plan_takes_lists_of_other_nodes_and_runs_in_dynamic_tasks(
    propeller: Propeller, flow: Flow
) -> None:
    text = (
        f"{MAPPED}@task\ndef some(n: int) -> typing.List[int]:\n    return list(range(n))\n"
        "@task\ndef total(xs: typing.List[int]) -> int:\n    return sum(xs)\n"
        "@dynamic\ndef many(n: int) -> typing.List[int]:\n"
        "    return map_task(plan)(a=list(range(n)), b=[7] * n)\n"
        "@workflow\ndef wf(n: int) -> typing.Tuple[int, typing.List[int]]:\n"
        "    ns = some(n=n)\n    return total(xs=map_task(plan)(a=ns, b=ns)), many(n=n)\n"
    )
    assert outputs(propeller, flow(text), "wf", "--n", "3") == {"o0": 33, "o1": [7, 17, 27]}


def test_a_map_over_a_launch_plan_fails_with_the_authors_message(propeller: Propeller, flow: Flow) -> None:
    text = (
        f"{MAPPED}@workflow\ndef wf(xs: typing.List[int]) -> typing.List[int]:\n    return map_task(plan)(a=xs, b=xs)\n"
    )
    ended = propeller.run(flow(text), "wf", "--xs", "[1, -2, 3]", "--output", "json")
    assert ended.code == 1
    assert "no -2" in json.loads(ended.out)["error"]["message"]


def test_a_plan_of_another_project_is_mapped_over_from_a_registry(
    propeller: Propeller, flow: Flow, registry: str, tmp_path: Path
) -> None:
    file = flow(f"{CHILD}nightly = LaunchPlan.get_or_create(child, 'nightly')\n")
    where = ("--registry", registry, "--project", "other", "--domain", "production", "--version", "v1")
    assert propeller("register", file, *where, "--python", sys.executable).code == 0
    caller = tmp_path / "caller.py"
    text = REFERENCE.replace("def wf(a: int) -> int", "def wf(xs: typing.List[int]) -> typing.List[int]")
    text = text.replace("nightly(a=a)", "map_task(nightly)(a=xs)")
    caller.write_text(f"import typing\nfrom flytekit import map_task, workflow\n{text}")
    ended = propeller.run(caller, "wf", "--xs", "[4, 5]", "--registry", registry, "--output", "json")
    assert ended.json == {"o0": [5, 6]}


def test_executions_that_share_a_stored_workflow_give_the_same(propeller: Propeller, flow: Flow) -> None:
    file = flow(
        f"{MAPPED}@workflow\ndef inner(xs: typing.List[int]) -> typing.List[int]:\n"
        "    return map_task(plan)(a=xs, b=xs)\n"
        "inner_plan = LaunchPlan.get_or_create(inner, 'inner')\n"
        "@dynamic\ndef many(n: int) -> typing.List[typing.List[int]]:\n"
        "    return [inner_plan(xs=[i, i + 1]) for i in range(n)]\n"
        "@workflow\ndef wf(n: int) -> typing.List[typing.List[int]]:\n    return many(n=n)\n"
    )
    words = (file, "wf", "--n", "2", "--storage", f"file://{propeller.home}/data", "--output", "json")
    ended = propeller.run(*words, PROPELLER_CONTROLLER__CHILD_CLOSURE_BYTES="0")
    assert ended.json == {"o0": [[0, 11], [11, 22]]}
    stored = list((propeller.home / "data").rglob("_closures/*.json"))
    assert len(stored) == 2, "one of each launch plan"
