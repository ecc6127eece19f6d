"""Workflows written with flytekit, against what Flyte's own compiler made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from propeller.compiler import to_json
from tests.vectors.folder import FOLDER, collapsed, found, golden
from tests.vectors.registered import compile_folder

FOLDERS = [path.parent for path in found("flytekit/*/workflow.pb")]
ACCEPTED = [folder for folder in FOLDERS if not (folder / "errors.json").exists()]
REFUSED = [folder for folder in FOLDERS if (folder / "errors.json").exists() and folder.name != "lp_array"]
"""`lp_array` is what only Flyte's compiler refuses: it reads `is_original_sub_node_interface` nowhere."""


@pytest.mark.parametrize("folder", ACCEPTED, ids=lambda folder: folder.name)
def test_what_flyte_accepts_compiles_to_the_same_closure_and_resource(folder: Path) -> None:
    outcome = compile_folder(folder)
    assert outcome.errors is None
    assert outcome.closure is not None
    assert collapsed(to_json(outcome.closure)) == golden(folder / "compiled.json")
    assert collapsed(_as_flyte(outcome.resource)) == golden(folder / "resource.json")


def _as_flyte(resource: Any) -> Any:
    """Without what a node says about the cache, which Flyte's compiler drops (docs/differences.md)."""
    match resource:
        case dict():
            return {key: _as_flyte(value) for key, value in resource.items() if not _is_cache_override(key, value)}
        case list():
            return [_as_flyte(item) for item in resource]
    return resource


def _is_cache_override(key: str, value: Any) -> bool:
    return (
        key == "cache"
        and isinstance(value, dict)
        and value.keys() <= {"cacheable", "cacheVersion", "cacheSerializable"}
    )


def test_a_map_over_a_launch_plan_compiles_though_flytes_compiler_refuses_it() -> None:
    resource: Any = compile_folder(FOLDER / "flytekit" / "lp_array").resource
    assert resource is not None
    node = resource["spec"]["nodes"]["n0"]
    assert (node["kind"], node["array"]["Parallelism"], node["array"]["MinSuccesses"]) == ("array", 2, 1)
    assert node["array"]["SubNodeSpec"]["workflow"]["launchPlanRefId"]["name"] == "workflows_core.level3_lp"


def test_what_a_node_says_about_the_cache_is_in_its_resource() -> None:
    resource: Any = compile_folder(FOLDER / "flytekit" / "node_overrides").resource
    assert resource is not None
    assert {"cacheable": True, "cacheVersion": "9", "cacheSerializable": True} in [
        node.get("cache") for node in resource["spec"]["nodes"].values()
    ]


@pytest.mark.parametrize("folder", REFUSED, ids=lambda folder: folder.name)
def test_what_flyte_refuses_is_refused_at_the_same_stage_for_the_same_nodes(folder: Path) -> None:
    outcome = compile_folder(folder)
    expected = golden(folder / "errors.json")
    assert outcome.errors is not None
    assert outcome.stage == expected["stage"]
    assert {(str(error.code), collapsed(error.node_id)) for error in outcome.errors.errors} == {
        (error["code"], error["nodeId"]) for error in expected["errors"]
    }
    if (folder / "compiled.json").exists():
        assert outcome.closure is not None
        assert collapsed(json.loads(json.dumps(to_json(outcome.closure)))) == golden(folder / "compiled.json")
