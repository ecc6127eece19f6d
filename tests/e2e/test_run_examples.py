"""`propeller run` gives what flytekit gives, for every example, with files and with S3."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.testing import S3Server
from tests.e2e.conftest import EXAMPLES, Propeller, locally

RUNS: list[tuple[str, str, dict[str, Any]]] = [
    ("training", "train", {"rows": 120, "epochs": 5}),
    ("sweep", "sweep", {}),
    ("fan_out", "longest_words", {"text": "One small step. One giant leap."}),
    ("quality_gate", "gate", {"accuracy": 0.7}),
    ("demo", "demo", {"n": 5}),
    ("caching", "caching", {}),
    ("maps", "maps", {}),
    ("containers", "containers", {"a": 6, "b": 7}),
]

IN_DOCKER = {"containers": {"o0": 42, "o1": "product 42", "o2": "mean 12 of 6, 12, 18; 3 files"}}
"""Outputs of examples that flytekit alone would run in Docker."""


def options(inputs: dict[str, Any]) -> list[str]:
    return [word for name, value in inputs.items() for word in (f"--{name}", str(value))]


@pytest.mark.needs("embedded", "flytekit")
@pytest.mark.parametrize(("example", "workflow", "inputs"), RUNS)
def test_an_example_gives_what_flytekit_gives(
    propeller: Propeller, example: str, workflow: str, inputs: dict[str, Any]
) -> None:
    file = EXAMPLES / f"{example}.py"
    ended = propeller.run(file, workflow, *options(inputs), "--output", "json")
    assert ended.json == (IN_DOCKER.get(example) or locally(file, workflow, **inputs))


@pytest.mark.needs("embedded", "flytekit")
@pytest.mark.parametrize(("example", "workflow", "inputs"), RUNS)
def test_an_example_gives_the_same_with_its_data_on_s3(
    propeller: Propeller, rclone: S3Server, example: str, workflow: str, inputs: dict[str, Any]
) -> None:
    file, bucket = EXAMPLES / f"{example}.py", rclone.bucket()
    words = (*options(inputs), "--output", "json", "--storage", f"s3://{bucket}/runs")
    ended = propeller.run(file, workflow, *words, **rclone.environment)
    assert ended.json == (IN_DOCKER.get(example) or locally(file, workflow, **inputs))
    assert list((rclone.directory / bucket / "runs").rglob("outputs.pb"))


def test_every_example_is_run_here_or_where_its_gates_are_answered() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"review", *(example for example, _, _ in RUNS)}


def test_a_branch_that_fails_ends_the_run_with_its_message(propeller: Propeller) -> None:
    ended = propeller.run(EXAMPLES / "quality_gate.py", "gate", "--accuracy", "0.4")
    assert ended.code == 1
    assert "accuracy is below 0.6" in ended.err
    assert ended.out == ""


def test_a_task_can_be_run_alone(propeller: Propeller) -> None:
    assert propeller.run(EXAMPLES / "demo.py", "square", "--x", "-4", "--output", "json").json == {"o0": 16}


def test_the_help_of_a_workflow_lists_its_inputs(propeller: Propeller) -> None:
    ended = propeller.run(EXAMPLES / "training.py", "train", "--help")
    assert ended.code == 0
    assert "--rate FLOAT" in ended.out
    assert "[default: 0.1]" in ended.out


def test_a_file_alone_lists_what_it_has(propeller: Propeller) -> None:
    ended = propeller.run(EXAMPLES / "demo.py")
    assert ended.code == 0
    assert "merge_sort" in ended.out
    assert "workflow" in ended.out
