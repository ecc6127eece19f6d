"""The pod of a raw container is FlytePropeller's with FlyteCopilot in it, but for what docs/raw-containers.md names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.handlers.copilots_pod import added
from tests.unit.handlers.test_raw_containers import raw, spec_of

OWN_VOLUMES = {"propeller-marks", "propeller-podinfo"}
"""By which the uploader hears of the program's end, and the downloader of the uploader."""

PATHS: dict[str, Any] = {"inputPath": "/in", "outputPath": "/out"}
FILES = ("run", "/var/flyte/inputs/x")

CASES: dict[str, dict[str, Any]] = {
    "not enabled": raw(("x",), ("o0",), enabled=False),
    "no inputs, no outputs": raw(),
    "default paths": raw(("x", "y"), ("o0",), FILES),
    "its own paths": raw(("x", "y"), ("o0",), **PATHS),
    "inputs alone": raw(("x", "y"), **PATHS),
    "inputs alone, default path": raw(("x",), (), FILES),
    "outputs alone": raw((), ("o0",), **PATHS),
    "outputs alone, default path": raw((), ("o0",)),
    "an input's path alone": raw(("x",), ("o0",), inputPath="/in"),
    "format PROTO": raw(("x",), ("o0",), format="PROTO", **PATHS),
}


def parts(task: dict[str, Any]) -> dict[str, Any]:
    spec = spec_of(task)
    (program,) = spec["containers"]
    loaders = spec.get("initContainers") or []
    found = {one["name"].removeprefix("flyte-copilot-"): _fields(one) for one in loaders}
    has_inputs = bool(task["interface"]["inputs"]["variables"])
    if not has_inputs:
        found.pop("downloader", None)  # it waits for the uploader, as no input is downloaded
    return {
        "volumes": [one for one in spec.get("volumes") or [] if one["name"] not in OWN_VOLUMES],
        "program's mounts": program.get("volumeMounts") or [],
        "containers": found,
        "order": [f"flyte-copilot-{name}" for name in found],
        "grace": spec.get("terminationGracePeriodSeconds"),
    }


def _fields(container: dict[str, Any]) -> dict[str, Any]:
    resources = container["resources"]
    return {
        "name": container["name"],
        "workingDir": container["workingDir"],
        "volumeMounts": [one for one in container["volumeMounts"] if one["name"] not in OWN_VOLUMES],
        "cpu": (resources["requests"]["cpu"], resources["limits"]["cpu"]),
        "terminationMessagePolicy": container["terminationMessagePolicy"],
        "imagePullPolicy": container["imagePullPolicy"],
        **({"restartPolicy": container["restartPolicy"]} if "restartPolicy" in container else {}),
    }


@pytest.mark.parametrize("case", CASES)
def test_loaders_volumes_and_grace_are_flytepropellers(case: str) -> None:
    assert parts(CASES[case]) == added(CASES[case])
