"""Tasks, workflows and launch plans of other files and projects: referred to by flytekit, found in a registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Propeller
from tests.e2e.test_run_as_flytekit import Flow

pytestmark = pytest.mark.needs("embedded", "flytekit")

WHERE = "project='other', domain='production'"
OTHER = (
    "@task\ndef inc(a: int) -> int:\n    return a + 1\n"
    "@workflow\ndef inner(a: int) -> int:\n    return inc(a=a)\n"
    "@workflow\ndef child(a: int) -> int:\n    return inc(a=inner(a=a))\n"
    "plan = LaunchPlan.get_or_create(child, 'nightly', default_inputs={'a': 7})\n"
)
HEAD = (
    "import typing\nfrom flytekit import dynamic, reference_launch_plan, reference_task, reference_workflow\n"
    "from flytekit import task, workflow\n"
)


def reference(kind: str, name: str, signature: str = "(a: int) -> int", version: str = "v1") -> str:
    """A reference named `there`; flytekit wants a return in those of workflows."""
    return f"@reference_{kind}({WHERE}, name='{name}', version='{version}')\ndef there{signature}:\n    return 0\n"


@pytest.fixture
def registry(propeller: Propeller, flow: Flow, tmp_path: Path) -> str:
    """A registry with the file OTHER, whose module is `flow`."""
    uri = f"file://{tmp_path}/registry"
    where = ("--registry", uri, "--project", "other", "--domain", "production", "--version", "v1")
    made = propeller("register", flow(OTHER), *where, "--python", sys.executable)
    assert made.code == 0, made.err
    return uri


@pytest.fixture
def caller(tmp_path: Path) -> Path:
    return tmp_path / "caller.py"


ALL = (
    reference("task", "flow.inc").replace("there", "inc")
    + reference("workflow", "flow.child").replace("there", "child")
    + reference("launch_plan", "nightly", "() -> int").replace("there", "nightly")
    + "@dynamic\ndef many(n: int) -> typing.List[int]:\n    return [nightly() for _ in range(n)]\n"
    "@workflow\n"
    "def wf(a: int) -> typing.Tuple[int, int, typing.List[int]]:\n"
    "    return inc(a=a), child(a=a), many(n=2)\n"
)
CALL = "@workflow\ndef wf(a: int) -> int:\n    return there(a=a)\n"


def test_references_run_what_is_registered(propeller: Propeller, registry: str, caller: Path) -> None:
    caller.write_text(HEAD + ALL)
    ended = propeller.run(caller, "wf", "--a", "4", "--registry", registry, "--output", "json")
    assert ended.code == 0, ended.err
    assert ended.json == {"o0": 5, "o1": 6, "o2": [9, 9]}
    made = propeller(
        "compile", caller, "wf", "--a", "1", "--registry", registry, "--image", "i:v1", "--python", sys.executable
    )
    assert made.code == 0, made.err
    resource = json.loads(made.out)
    assert sum('project:"other"' in key for key in resource["tasks"]) == 1
    assert len(resource["subWorkflows"]) == 2
    checked = propeller("compile", caller, "--registry", registry, "--python", sys.executable)
    assert "1 workflows compile, 0 do not" in checked.out


def test_the_settings_of_the_command_say_how_the_registry_is_read(
    propeller: Propeller, registry: str, caller: Path, tmp_path: Path
) -> None:
    """Regression: only those of the environment did, so that a registry in an S3 of one's own was not found."""
    settings = tmp_path / "settings.toml"
    settings.write_text("[storage]\nmax_blob_bytes = 10\n")
    caller.write_text(HEAD + ALL)
    words = ("--registry", registry, "--config", settings)
    for command in (("run", caller, "wf", "--a", "4"), ("compile", caller, "wf", "--a", "1"), ("compile", caller)):
        ended = propeller(*command, *words, "--python", sys.executable)
        assert ended.code != 0
        assert "storage.max_blob_bytes" in ended.err + ended.out
    where = ("--project", "other", "--domain", "production", "--version", "v2", "--python", sys.executable)
    assert "storage.max_blob_bytes" in propeller("register", caller, *words, *where).err


def test_a_reference_that_does_not_fit_is_refused_with_both_interfaces(
    propeller: Propeller, registry: str, caller: Path
) -> None:
    text = reference("task", "flow.inc", "(a: str) -> int") + "@workflow\ndef wf() -> int:\n    return there(a='x')\n"
    caller.write_text(HEAD + text)
    ended = propeller.run(caller, "wf", "--registry", registry)
    assert ended.code == 2
    assert "task flow.inc (project 'other', domain 'production', version 'v1') is registered in" in ended.err
    assert "input 'a' is string here, and integer there" in ended.err
    assert "declared here: (a: string) -> (o0: integer); registered: (a: integer) -> (o0: integer)" in ended.err


def test_a_reference_to_a_task_within_a_dynamic_task_fails_as_with_flytekit(
    propeller: Propeller, registry: str, caller: Path
) -> None:
    text = (
        reference("task", "flow.inc") + "@dynamic\ndef many(n: int) -> int:\n    return there(a=n)\n"
        "@workflow\ndef wf(n: int) -> int:\n    return many(n=n)\n"
    )
    caller.write_text(HEAD + text)
    ended = propeller.run(caller, "wf", "--n", "2", "--registry", registry, "--output", "json")
    assert ended.code == 1
    error = json.loads(ended.out)["error"]
    assert error["kind"] == "USER"
    assert "Reference tasks are currently unsupported within dynamic tasks" in error["message"]


def test_a_reference_to_a_task_is_mapped_over(propeller: Propeller, registry: str, caller: Path) -> None:
    text = (
        reference("task", "flow.inc") + "@dynamic\ndef inside(xs: typing.List[int]) -> int:\n    return len(xs)\n"
        "@workflow\ndef wf(xs: typing.List[int]) -> typing.Tuple[typing.List[int], int]:\n"
        "    made = map_task(there, concurrency=2)(a=xs)\n    return made, inside(xs=made)\n"
    )
    caller.write_text(HEAD.replace("import task, workflow", "import map_task, task, workflow") + text)
    ended = propeller.run(caller, "wf", "--xs", "[1, 5]", "--registry", registry, "--output", "json")
    assert ended.code == 0, ended.err
    assert ended.json == {"o0": [2, 6], "o1": 2}
