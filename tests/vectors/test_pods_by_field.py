"""The pods of FlyteAdmin's resources are as FlytePropeller would make them: field by field, by an oracle of its own."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flyteidl.admin import workflow_pb2

from propeller.compiler import build_resource
from propeller.testing import run_virtually
from tests.vectors.flytes_pod import FIELDS, Made
from tests.vectors.folder import CHECKOUT, found
from tests.vectors.launched import Recorded, observe, plain, recorded

PATHS = [*found("admin-resources/*.json"), *found("java/*/resource.json")]


@functools.cache
def _made(path: Path) -> list[Made]:
    of = plain(path) if path.stem == "resource" else recorded(path)
    closure = _closure(of)
    return [Made(of, closure, pod) for pod in run_virtually(observe(of)).pods.values()]


def _closure(of: Recorded) -> Mapping[str, Any]:
    """The static part, wherever it is kept."""
    if not (uri := of.resource.get("workflowClosureReference")):
        return of.resource
    compiled = workflow_pb2.WorkflowClosure.FromString(of.blobs[uri]).compiled_workflow
    whole: Mapping[str, Any] = build_resource(compiled, None, None, "")
    return whole


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parent.name if path.stem == "resource" else path.stem)
def test_a_pod_is_as_flytepropeller_would_make_it(path: Path, field: str) -> None:
    expected, ours = FIELDS[field]
    for made in _made(path):
        assert ours(made) == expected(made), made.name


@pytest.mark.skipif(not PATHS, reason="there are no vectors")
def test_the_table_in_the_docs_has_every_field_that_is_compared() -> None:
    page = (CHECKOUT / "docs" / "flyteadmin.md").read_text()
    table = page[page.index("## Pods, field by field") :]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == set(FIELDS)


@pytest.mark.skipif(not PATHS, reason="there are no vectors")
def test_enough_pods_are_compared_for_each_field_to_matter() -> None:
    pods = [made for path in PATHS for made in _made(path)]
    seen = Counter(
        {
            "pods": len(pods),
            "limits": sum(bool(made.container.get("resources")) for made in pods),
            "accounts": sum("serviceAccountName" in made.pod["spec"] for made in pods),
            "prefixes": sum("output_location_prefix" in made.resource["rawOutputDataConfig"] for made in pods),
            "environments": sum(bool(made.config["EnvironmentVariables"]) for made in pods),
            "node overrides": sum(bool(made.node.get("resources")) for made in pods),
        }
    )
    assert all(count >= 1 for count in seen.values()), seen
    assert seen["pods"] > 72
