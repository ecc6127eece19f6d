"""What FlytePropeller 1.16 adds to the pod of a raw container, from the task alone and its default configuration:
written from flyteplugins (flytek8s/copilot.go and its test's cases, config/config.go), without our own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_PREFIX, _CPU, _TIMEOUT = "flyte-copilot-", "500m", 3600
_VOLUMES = {"inputs": ("flyte-inputs", "/var/flyte/inputs"), "outputs": ("flyte-outputs", "/var/flyte/outputs")}


def added(task: Json) -> Json:
    """The parts of a pod that FlyteCopilot's containers and volumes are, and what the program's container gets."""
    container = task["container"]
    config = container.get("dataConfig") or {}
    has = {way: bool(task["interface"].get(way, {}).get("variables")) for way in _VOLUMES}
    if not config.get("enabled"):
        has = dict.fromkeys(_VOLUMES, False)
    mounts = {way: _mount(way, config) for way in _VOLUMES if has[way]}
    found: Json = {
        "volumes": [{"name": _VOLUMES[way][0], "emptyDir": {}} for way in mounts],
        "program's mounts": list(mounts.values()),
        "containers": {},
        "order": [],
        "grace": _TIMEOUT if has["outputs"] else None,
    }
    if has["outputs"]:
        found["containers"]["uploader"] = _container("uploader", mounts["outputs"]) | {"restartPolicy": "Always"}
        found["order"].append(f"{_PREFIX}uploader")
    if has["inputs"]:
        found["containers"]["downloader"] = _container("downloader", mounts["inputs"])
        found["order"].append(f"{_PREFIX}downloader")
    return found


def _mount(way: str, config: Mapping[str, str]) -> dict[str, str]:
    volume, path = _VOLUMES[way]
    return {"name": volume, "mountPath": config.get(f"{way.removesuffix('s')}Path") or path}


def _container(name: str, mount: dict[str, str]) -> Json:
    return {
        "name": f"{_PREFIX}{name}",
        "workingDir": "/",
        "volumeMounts": [mount],
        "cpu": (_CPU, _CPU),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "imagePullPolicy": "IfNotPresent",
    }
