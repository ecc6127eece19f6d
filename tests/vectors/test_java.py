"""Workflows written with flytekit-java, against what FlyteAdmin made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flyteidl.admin import workflow_pb2

from propeller.compiler import to_json
from tests.vectors.folder import collapsed, found, golden, read
from tests.vectors.registered import compile_folder

FOLDERS = [path.parent for path in found("java/*/resource.json")]


def _own(task: dict[str, Any]) -> dict[str, Any]:
    """A task without what FlyteAdmin adds to its container: the platform's resources, and a queue."""
    container = {key: value for key, value in task["container"].items() if key not in {"resources", "config"}}
    return {**task, "container": container}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_workflow_of_flytekit_java_compiles_to_flyteadmins_closure_and_resource(folder: Path) -> None:
    outcome = compile_folder(folder)
    assert outcome.stage == "done", outcome.errors
    assert outcome.closure is not None
    assert outcome.resource is not None
    assert collapsed(json.loads(json.dumps(to_json(outcome.closure)))) == golden(folder / "compiled.json")
    made, expected = collapsed(outcome.resource), golden(folder / "resource.json")
    for part in ("spec", "subWorkflows", "inputs"):
        assert made.get(part) == expected.get(part)
    assert made["tasks"].keys() == expected["tasks"].keys()
    for key, task in expected["tasks"].items():
        assert _own(made["tasks"][key]) == _own(task)


@pytest.mark.parametrize("path", found("java/*/requests/*workflow*.pb"), ids=lambda path: path.stem)
def test_templates_in_jflytes_requests_have_no_id_until_the_server_gives_them_one(path: Path) -> None:
    request = read(path, workflow_pb2.WorkflowCreateRequest())
    assert request.id.name
    assert not request.spec.template.HasField("id")
