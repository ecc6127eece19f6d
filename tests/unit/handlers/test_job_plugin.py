"""The plugin of examples/plugin: what a Job's status means, and which Jobs a task may ask for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import PodSettings
from propeller.workflow import AttemptObserved, AttemptPhase, Failure
from tests.unit.handlers.build import World, graph, literals, task, template

PACKAGE = Path(__file__).parents[3] / "examples" / "plugin"


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PACKAGE)
        yield importlib.import_module("propeller_k8s_job.plugin")


def condition(type_: str, status: str = "True", **more: str) -> dict[str, str]:
    return {"type": type_, "status": status, **more}


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({}, AttemptPhase.PENDING),
        ({"active": 1}, AttemptPhase.PENDING),
        ({"active": 1, "ready": 1}, AttemptPhase.RUNNING),
        ({"conditions": [condition("Suspended")]}, AttemptPhase.PENDING),
        ({"ready": 1, "conditions": [condition("Suspended", "False")]}, AttemptPhase.RUNNING),
        ({"ready": 1, "conditions": [condition("SuccessCriteriaMet")]}, AttemptPhase.RUNNING),
        ({"conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}, AttemptPhase.SUCCEEDED),
    ],
)
def test_a_job_is_as_far_as_its_conditions_say(
    example: ModuleType, status: dict[str, Any], phase: AttemptPhase
) -> None:
    seen = example.PLUGIN.observe(msgspec.convert({"status": status}, example.Job), 1)
    assert (seen.attempt, seen.phase, seen.failure) == (1, phase, None)


def test_a_job_that_failed_says_why_and_may_be_tried_again(example: ModuleType) -> None:
    why = {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}
    status = {"conditions": [condition("FailureTarget"), condition("Failed", **why)]}
    failure = Failure(why["reason"], why["message"], ErrorKind.USER, recoverable=True, attempt=2)
    seen = example.PLUGIN.observe(msgspec.convert({"status": status}, example.Job), 2)
    assert seen == AttemptObserved(2, AttemptPhase.FAILED, failure=failure)


def build(example: ModuleType, **custom: Any) -> dict[str, Any]:
    node = World(graph(task("n0")), {"t": template(type="k8s-job", custom=custom)}).node("n0")
    spec: dict[str, Any] = example.PLUGIN.build(node, 0, literals(), PodSettings(raw_output_prefix="s3://raw"))["spec"]
    return spec


def test_a_job_has_what_its_task_asks_for(example: ModuleType) -> None:
    spec = build(example, parallelism=3, completions=6, backoffLimit=0)
    assert spec.pop("template")["spec"]["restartPolicy"] == "Never"
    assert spec == {"parallelism": 3, "completions": 6, "backoffLimit": 0}
    assert build(example).keys() == {"template"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("completions", 0),
        ("parallelism", -1),
        ("backoffLimit", -1),
        ("completions", 1001),
        ("parallelism", 1.5),
        ("completions", "3"),
        ("completions", True),
        ("completions", None),
        ("parallelism", [1]),
    ],
)
def test_a_job_of_nonsense_is_the_users_fault(example: ModuleType, name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=f"{name} of a K8sJob must be a whole number from"):
        build(example, **{name: value})
