"""Every resource that comes out of the compiler goes into the engine: it parses to a plan, which explains itself."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from propeller.cli._plan_dot import to_dot
from propeller.cli._plan_text import explain
from propeller.compiler import build_resource
from propeller.workflow import parse_plan
from tests.vectors.folder import found, golden
from tests.vectors.registered import compile_folder

ACCEPTED = [path.parent for path in found("flytekit/*/resource.json")]
GOLDENS = [*found("flytekit/*/resource.json"), *found("snacks-core/k8s/*.json")]


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_flytes_own_resource_parses_to_a_plan_that_explains_itself(path: Path) -> None:
    resource = golden(path)
    plan = parse_plan(orjson.dumps(resource), "digest")
    for graph in (plan.root, *plan.sub_workflows.values()):
        for number, node in enumerate(graph.nodes):
            graph.bindings(number)
            assert not node.task or plan.task(node.task).type
    words = explain(plan)
    assert all(node_id in words for node_id in resource["spec"]["nodes"] if node_id != "start-node")
    assert to_dot(plan).count("subgraph") == 1 + len(plan.sub_workflows)


@pytest.mark.parametrize("folder", ACCEPTED, ids=lambda folder: folder.name)
def test_the_static_part_is_that_of_any_execution(folder: Path) -> None:
    outcome = compile_folder(folder)
    assert outcome.closure is not None
    assert outcome.resource is not None
    static = build_resource(outcome.closure, None, None, "")
    for part in ("spec", "tasks", "subWorkflows"):
        assert static.get(part) == outcome.resource.get(part)
