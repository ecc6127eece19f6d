"""Raw containers with inputs or outputs in files: the containers that bring and take them, beside the program's own.

Names of containers and volumes are FlyteCopilot's (flytek8s/copilot.go of FlytePropeller 1.16), as people see them in
kubectl and in dashboards.

Order
    The uploader, a native sidecar, comes first; then the author's init containers; then the downloader, which ends when
    inputs are there and the uploader listens; then the program.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable
from typing import Any

from flyteidl.core import interface_pb2, tasks_pb2

from propeller.dataloader import RawContainerOptions
from propeller.errors import Invalid
from propeller.handlers.plugins._metadata import PRIMARY_ENDED
from propeller.handlers.plugins._settings import PodSettings

Json = dict[str, Any]

DOWNLOADER, UPLOADER = "flyte-copilot-downloader", "flyte-copilot-uploader"
"""Names of the containers."""

LOADERS = frozenset({DOWNLOADER, UPLOADER})

_INPUTS, _OUTPUTS = "flyte-inputs", "flyte-outputs"
_MARKS, _POD_INFO = "propeller-marks", "propeller-podinfo"
_MARKS_PATH, _POD_INFO_PATH = "/var/propeller/marks", "/var/propeller/podinfo"
_ENDED = "primary-ended"

_PATH = re.compile(r"(?:/[A-Za-z0-9._@%+=,-]{1,255}){1,32}")
_INPUT = re.compile(r"\{\{\s*[.$]inputs\.([^{}\s]+)\s*\}\}", re.IGNORECASE)

FORMATS = {
    tasks_pb2.DataLoadingConfig.JSON: "JSON",
    tasks_pb2.DataLoadingConfig.YAML: "YAML",
    tasks_pb2.DataLoadingConfig.PROTO: "PROTO",
}


def add_dataloader(spec: Json, primary: str, task: tasks_pb2.TaskTemplate, settings: PodSettings) -> None:
    """Add what a raw container's files need to its pod; nothing if the task has none. Lists in `spec` are replaced.

    Raises Invalid if the task names an impossible directory, a name is taken, or the operator has set no image.
    """
    config = _config_of(task)
    if config is None:
        return
    options = settings.raw_containers
    of_primary = next(found for found in spec["containers"] if found["name"] == primary)
    outputs = dict(task.interface.outputs.variables)
    loads = bool(task.interface.inputs.variables) and _reads_files(task, config, of_primary, options)
    if not (loads or outputs):
        return
    if not options.image:
        raise Invalid(
            f"task {task.id.name} has inputs or outputs in files, which propeller's own image moves: the operator "
            "has to name it as raw_containers.image"
        )
    _require_free(spec, task)
    input_path = _directory(config.input_path or options.input_path, "input_data_dir", task)
    output_path = _directory(config.output_path or options.output_path, "output_data_dir", task)
    if loads and outputs and input_path == output_path:
        raise Invalid(f"task {task.id.name}: input_data_dir and output_data_dir are both {input_path!r}: name two")
    inputs_mount = [{"name": _INPUTS, "mountPath": input_path}] if loads else []
    outputs_mount = [{"name": _OUTPUTS, "mountPath": output_path}] if outputs else []
    marks_mount = [{"name": _MARKS, "mountPath": _MARKS_PATH}] if outputs else []
    make = _Maker(spec, of_primary, options, settings)
    words = [
        "download",
        *(["--from-remote", "{{.input}}", "--to-local-dir", input_path] if loads else []),
        *("--format", FORMATS.get(config.format, "JSON"), "--timeout", f"{options.download_timeout:g}"),
    ]
    downloader = make.container(DOWNLOADER, words, [*inputs_mount, *marks_mount])
    init_containers = [*(spec.get("initContainers") or ()), downloader]
    if outputs:
        podinfo = {"name": _POD_INFO, "mountPath": _POD_INFO_PATH, "readOnly": True}
        words = [
            *("upload", "--from-local-dir", output_path, "--to-output-prefix", "{{.outputPrefix}}"),
            *("--to-raw-output", "{{.rawOutputDataPrefix}}", "--interface", _encoded(outputs)),
            *("--ended-file", f"{_POD_INFO_PATH}/{_ENDED}", "--timeout", f"{options.upload_timeout:g}"),
        ]
        uploader = make.container(UPLOADER, words, [*outputs_mount, *marks_mount, podinfo])
        init_containers.insert(0, uploader | {"restartPolicy": "Always"})
        own_grace = spec.get("terminationGracePeriodSeconds") or 0
        spec["terminationGracePeriodSeconds"] = max(own_grace, math.ceil(options.upload_timeout))
    spec["initContainers"] = init_containers
    spec["containers"] = [
        {**found, "volumeMounts": [*(found.get("volumeMounts") or ()), *inputs_mount, *outputs_mount]}
        if found is of_primary
        else found
        for found in spec["containers"]
    ]
    spec["volumes"] = [*(spec.get("volumes") or ()), *_volumes(inputs=loads, outputs=bool(outputs))]


class _Maker:
    """Makes the containers of one pod."""

    def __init__(self, spec: Json, primary: Json, options: RawContainerOptions, settings: PodSettings) -> None:
        limits = (
            ("--max-bytes", options.max_bytes),
            ("--max-files", options.max_files),
            ("--max-depth", options.max_depth),
            ("--max-value-bytes", options.max_value_bytes),
        )
        store = (("--s3-endpoint", settings.s3_endpoint), ("--s3-region", settings.s3_region))
        self._words = [word for name, value in (*limits, *store) if value != "" for word in (name, str(value))]
        self._options = options
        user = options.user if options.user >= 0 else None
        if user is None:
            user = (primary.get("securityContext") or {}).get("runAsUser")
        runs_as = user if user is not None else (spec.get("securityContext") or {}).get("runAsUser")
        self._rights = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"runAsUser": user} if user is not None else {}),
            "runAsNonRoot": runs_as != 0,
        }

    def container(self, name: str, words: Iterable[str], mounts: list[Json]) -> Json:
        options = self._options
        resources = {"cpu": options.cpu, "memory": options.memory}
        marks = ["--marks", _MARKS_PATH] if any(mount["name"] == _MARKS for mount in mounts) else []
        return {
            "name": name,
            "image": options.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["propeller", "dataloader"],
            "args": [*words, *marks, *self._words],
            "workingDir": "/",
            "resources": {"requests": resources, "limits": resources},
            "securityContext": self._rights,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
        }


def _config_of(task: tasks_pb2.TaskTemplate) -> tasks_pb2.DataLoadingConfig | None:
    target = task.WhichOneof("target")
    if target not in {"container", "k8s_pod"}:
        return None
    config: tasks_pb2.DataLoadingConfig = getattr(task, target).data_config
    return config if config.enabled else None


def _reads_files(
    task: tasks_pb2.TaskTemplate, config: tasks_pb2.DataLoadingConfig, container: Json, options: RawContainerOptions
) -> bool:
    """Whether the program may look for its inputs in files: not if the task names no directory for them, and each of
    them is in the command.
    """
    texts = [*(container.get("command") or ()), *(container.get("args") or ())]
    if config.input_path or any(options.input_path in text for text in texts):
        return True
    named = {name for text in texts for name in _INPUT.findall(text)}
    return not named.issuperset(task.interface.inputs.variables)


def _require_free(spec: Json, task: tasks_pb2.TaskTemplate) -> None:
    containers = (*spec["containers"], *(spec.get("initContainers") or ()))
    taken = {one.get("name") for one in containers} & LOADERS
    taken |= {one.get("name") for one in spec.get("volumes") or ()} & {_INPUTS, _OUTPUTS, _MARKS, _POD_INFO}
    if taken:
        raise Invalid(f"the pod of task {task.id.name} has {sorted(map(str, taken))}, names of what loads its files")


def _directory(path: str, field: str, task: tasks_pb2.TaskTemplate) -> str:
    path = path.rstrip("/")
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(path.split("/")):
        raise Invalid(
            f"task {task.id.name}: {field} is {path[:100]!r}: write an absolute path of letters, digits and "
            "._@%+=,- without '.' and '..', which is not /"
        )
    return path


def _encoded(outputs: dict[str, interface_pb2.Variable]) -> str:
    """The names and types alone: JSON schemas of dataclasses, in their metadata, would be too long for an argument."""
    variables = {}
    for name in sorted(outputs):
        variable = interface_pb2.Variable(type=outputs[name].type)
        variable.type.ClearField("metadata")
        variable.type.ClearField("annotation")
        variable.type.ClearField("structure")
        variables[name] = variable
    return base64.b64encode(
        interface_pb2.VariableMap(variables=variables).SerializeToString(deterministic=True)
    ).decode()


def _volumes(*, inputs: bool, outputs: bool) -> list[Json]:
    ended = {"path": _ENDED, "fieldRef": {"fieldPath": f"metadata.annotations['{PRIMARY_ENDED}']"}}
    return [
        *([{"name": _INPUTS, "emptyDir": {}}] if inputs else []),
        *(
            [
                {"name": _OUTPUTS, "emptyDir": {}},
                {"name": _MARKS, "emptyDir": {}},
                {"name": _POD_INFO, "downwardAPI": {"items": [ended]}},
            ]
            if outputs
            else []
        ),
    ]
