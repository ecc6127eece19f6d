"""The script that runs a directory of examples with flytekit alone and here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tools.compare_examples import comparable

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "compare_examples.py"

FLOW = """
import time
from flytekit import task, workflow

@task
def place() -> str:
    return __file__

@task
def now() -> float:
    return time.time()

@task
def fails(x: int = 0) -> int:
    return 1 // x

@workflow
def same() -> str:
    return place()

@workflow
def other() -> float:
    return now()

@workflow
def broken() -> int:
    return fails()

@workflow
def asks(a: dict) -> str:
    return place()

@task
def sorted_of(xs: list[int], text: str) -> str:
    return f"{sorted(xs)} {text}"

@workflow
def given(xs: list[int], text: str) -> str:
    return sorted_of(xs=xs, text=text)
"""


@pytest.mark.needs("embedded", "flytekit")
def test_each_workflow_of_a_directory_has_a_verdict(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    examples.mkdir()
    (examples / "flow.py").write_text(FLOW)
    (examples / "heavy.py").write_text("import a_package_that_there_is_not\n# workflow\n")
    report = tmp_path / "report"
    done = subprocess.run([sys.executable, SCRIPT, examples, "--report", report], cwd=ROOT, check=False)
    lines = [msgspec.json.decode(line) for line in report.read_bytes().splitlines()]
    assert {(line["workflow"], line["verdict"]) for line in lines} == {
        ("same", "equal"),
        ("given", "equal"),
        ("other", "differs"),
        ("broken", "flytekit fails"),
        ("asks", "needs inputs"),
        ("", "not imported"),
    }
    assert done.returncode == 1
    assert {path.name for path in examples.iterdir()} == {"flow.py", "heavy.py"}


def test_places_of_files_are_compared_as_places_only() -> None:
    assert comparable({"o0": ["/tmp/a/b", 1]}) == comparable({"o0": ["s3://bucket/c", 1]})
    assert comparable("text") != comparable("/tmp/text")
    assert comparable({f"Dataset_{'0a' * 16}": 1}) == comparable({f"Dataset_{'1b' * 16}": 1})
    assert comparable("Dataset_0a") != comparable("Dataset_0b")
