"""`propeller compile`: resources, drawings, and a report of what does not compile."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import EXAMPLES, Ended, Propeller

pytestmark = pytest.mark.needs("flytekit")


def compiled(propeller: Propeller, *arguments: str | Path) -> Ended:
    return propeller("compile", *arguments, "--python", sys.executable)


def test_a_workflow_becomes_a_resource_with_its_inputs(propeller: Propeller) -> None:
    words = (EXAMPLES / "demo.py", "demo", "--n", "3", "--name", "mine", "--image", "registry.example/flow:v2")
    resource = compiled(propeller, *words).json
    assert (resource["apiVersion"], resource["kind"]) == ("flyte.lyft.com/v1alpha1", "FlyteWorkflow")
    assert resource["metadata"]["name"] == "mine"
    assert resource["inputs"]["literals"]["n"]["scalar"]["primitive"]["integer"] == "3"
    images = {task["container"]["image"] for task in resource["tasks"].values()}
    assert images == {"registry.example/flow:v2", "python:3.11-slim"}


def test_yaml_says_the_same_as_json(propeller: Propeller) -> None:
    words = (EXAMPLES / "sweep.py", "sweep", "--name", "mine")
    in_yaml = compiled(propeller, *words, "--format", "yaml")
    assert yaml.safe_load(in_yaml.out) == compiled(propeller, *words).json


def test_a_graph_is_explained_in_text_and_for_graphviz(propeller: Propeller) -> None:
    words = (EXAMPLES / "quality_gate.py", "gate", "--explain")
    text = compiled(propeller, *words, "text").out
    assert "branch quality" in text
    assert "task quality_gate.announce" in text
    assert compiled(propeller, *words, "dot").out.startswith("digraph workflow {")


def test_a_picture_needs_graphviz_and_says_so(propeller: Propeller) -> None:
    ended = compiled(propeller, EXAMPLES / "quality_gate.py", "gate", "--explain", "svg")
    if shutil.which("dot"):
        assert "<svg" in ended.out
    else:
        assert ended.code == 2
        assert "install it" in ended.err


def test_graphviz_that_fails_is_one_error(propeller: Propeller, tmp_path: Path) -> None:
    """Regression: a traceback, which named the call and not what Graphviz had said."""
    dot = tmp_path / "bin" / "dot"
    dot.parent.mkdir()
    dot.write_text("#!/bin/sh\ncat > /dev/null\necho 'out of memory' >&2\nexit 3\n")
    dot.chmod(0o755)
    words = (EXAMPLES / "quality_gate.py", "gate", "--explain", "svg", "--python", sys.executable)
    ended = propeller("compile", *words, PATH=f"{dot.parent}:{os.environ['PATH']}")
    assert (ended.code, ended.err) == (3, "error: dot -Tsvg ended with exit code 3: out of memory\n")


def test_a_directory_is_reported_on_and_its_resources_written(propeller: Propeller) -> None:
    ended = compiled(propeller, EXAMPLES, "--out", "resources")
    assert ended.code == 0
    assert " workflows compile, 0 do not" in ended.out
    for file in EXAMPLES.glob("*.py"):
        assert f"✔ {file} " in ended.out
    assert "demo.py sum_of_squares  (not written: needs xs)" in ended.out
    written = {path.name for path in (propeller.home / "resources").iterdir()}
    assert written >= {
        *("demo.demo.json", "fan_out.longest_words.json", "quality_gate.gate.json", "sweep.sweep.json"),
        *("squares.squares.json", "training.train.json", "caching.caching.json", "containers.containers.json"),
    }
    assert json.loads((propeller.home / "resources" / "demo.demo.json").read_text())["kind"] == "FlyteWorkflow"


def test_what_does_not_compile_is_named(propeller: Propeller, flow: Callable[[str], Path]) -> None:
    text = """
@task
def number() -> int:
    return 1

@task
def text() -> str:
    return "a"

@workflow
def fine() -> int:
    return number()

bad = Workflow(name="bad")
bad.add_entity(number)
bad.add_workflow_output("o", bad.nodes[0].outputs["o0"], str)
"""
    ended = compiled(propeller, flow(text))
    assert ended.code == 2
    assert "flow.py fine" in ended.out
    assert "MismatchingTypes" in ended.out
    assert "1 workflows compile, 1 do not" in ended.out


def test_a_file_whose_import_does_not_end_is_named_with_its_line_and_the_others_are_reported_on(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow("@task\ndef one() -> int:\n    return 1\n@workflow\ndef fine() -> int:\n    return one()\n")
    waits = file.with_name("a_waits.py")
    waits.write_text("import threading\nimport flytekit\nthreading.Event().wait()\n")
    ended = compiled(propeller, file.parent, "--timeout", "20")
    assert ended.code == 2
    assert (
        f"{waits}: flytekit has not read it after 20 s (it is at {waits}, line 3: threading.Event().wait())"
        in ended.out
    )
    assert "flow.py fine" in ended.out
    assert "1 workflows compile, 1 do not" in ended.out


def test_one_that_is_compiled_or_registered_alone_has_the_same_limit(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow("while True:\n    pass\n")
    commands: list[list[str | Path]] = [
        ["compile", file, "wf"],
        ["register", file, "--registry", f"file://{propeller.home}/registry"],
    ]
    for words in commands:
        ended = propeller(*words, "--timeout", "3", "--python", sys.executable)
        assert ended.code == 2
        assert f"{file}: flytekit has not read it after 3 s" in ended.err
        assert "--timeout SECONDS gives it more time" in ended.err


def test_an_import_that_lets_nothing_else_run_is_ended_as_well(
    propeller: Propeller, flow: Callable[[str], Path]
) -> None:
    file = flow("import re\nre.match('(a+)+$', 'a' * 100 + 'b')\n")
    ended = propeller("compile", file, "--timeout", "1", "--python", sys.executable)
    assert ended.code == 2
    assert f"{file}: flytekit has not read it after 1 s" in ended.out
