"""Resources as the real FlyteAdmin made them run as they were meant, or fail with the name of an absent feature."""

from __future__ import annotations

from pathlib import Path

import pytest
from flyteidl.core import literals_pb2

from propeller.testing import run_virtually
from tests.vectors.folder import CHECKOUT, found
from tests.vectors.launched import METADATA_PREFIX, RAW_OUTPUT_PREFIX, Recorded, observe, plain, recorded

SUCCEEDED, FAILED = 3, 5

NOT_SUPPORTED = ("launch plan nodes",)
"""What the recorded resources use of the features that docs/differences.md lists as absent."""

PATHS = [*found("admin-resources/*.json"), *found("java/*/resource.json")]


def _read(path: Path) -> Recorded:
    return plain(path) if path.stem == "resource" else recorded(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parent.name if path.stem == "resource" else path.stem)
def test_a_resource_of_flyteadmin_runs_to_its_end_or_fails_by_the_name_of_a_feature(path: Path) -> None:
    seen = run_virtually(observe(_read(path)))
    if seen.status.get("phase") == SUCCEEDED:
        assert seen.pods
        return
    assert seen.status.get("phase") == FAILED, seen.status
    if "launch plan" in str(seen.status["message"]):  # FlyteAdmin has it, and nobody has registered it here
        assert "is not there: the resource does not carry it, and it is not registered in" in seen.status["message"]
        assert seen.status["error"]["kind"] == "USER"
        return
    missing = [feature for feature in NOT_SUPPORTED if feature in str(seen.status)]
    assert missing, seen.status
    differences = (CHECKOUT / "docs" / "differences.md").read_text()
    assert all(feature in differences for feature in missing)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.parent.name if path.stem == "resource" else path.stem)
def test_its_pods_are_what_its_launch_asked_for(path: Path) -> None:
    """Derived here from the resource's JSON and flyteplugins' rules, without the code that makes pods."""
    of = _read(path)
    resource = of.resource
    config = resource["executionConfig"]
    prefix = resource["rawOutputDataConfig"].get("output_location_prefix") or RAW_OUTPUT_PREFIX
    run_as = resource["securityContext"].get("run_as") or {}
    account = resource.get("serviceAccountName") or run_as.get("k8s_service_account")
    identity = resource["executionId"]
    for name, pod in run_virtually(observe(of)).pods.items():
        metadata, spec = pod["metadata"], pod["spec"]
        assert metadata["labels"].items() >= resource["metadata"]["labels"].items()
        assert metadata["annotations"].items() >= resource["metadata"].get("annotations", {}).items()
        assert spec.get("serviceAccountName", "default") == (account or "default")
        assert spec["restartPolicy"] == "Never"
        (container,) = spec["containers"]
        assert container["name"] == name
        variables = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        assert variables.items() >= (config["EnvironmentVariables"] or {}).items()
        assert variables["FLYTE_INTERNAL_EXECUTION_ID"] == identity["name"]
        assert variables["FLYTE_INTERNAL_EXECUTION_PROJECT"] == identity["project"]
        assert variables["FLYTE_INTERNAL_EXECUTION_DOMAIN"] == identity["domain"]
        if config["Interruptible"] is not None and "n0" in metadata["labels"]["node-id"]:
            assert metadata["labels"]["interruptible"] == str(config["Interruptible"]).lower()
        args = container["args"]
        for option in ("--raw-output-data-prefix", "--rawOutputDataPrefix"):
            if option in args:
                value = args[args.index(option) + 1]
                assert value.startswith(f"{prefix}/")
                assert value.endswith(f"/{name}")
        assert not any("{{" in text for text in args)
        requests = container["resources"].get("requests", {})
        limits = container["resources"].get("limits", {})
        assert requests.keys() <= limits.keys()
        for resource_name, key in (("cpu", "CPU"), ("memory", "Memory")):
            if config["TaskResources"]["Requests"][key] != "0":
                assert resource_name in requests


@pytest.mark.parametrize("path", found("admin-resources/offloaded_inputs*.json"), ids=lambda path: path.stem)
def test_offloaded_inputs_reach_the_first_task(path: Path) -> None:
    of = recorded(path)
    given = literals_pb2.LiteralMap.FromString(of.blobs[of.resource["offloadedInputs"]])
    seen = run_virtually(observe(of))
    assert all(uri.startswith(METADATA_PREFIX) for uri in seen.blobs)
    inputs = [data for uri, data in seen.blobs.items() if uri.endswith("/inputs.pb")]
    values = [value for data in inputs for value in literals_pb2.LiteralMap.FromString(data).literals.values()]
    assert all(value in values for value in given.literals.values())
