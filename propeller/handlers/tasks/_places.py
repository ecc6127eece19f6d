"""Where an attempt reads and writes, as command templates name it (flyteplugins core/template, ioutils)."""

from __future__ import annotations

import re

from flyteidl.core import tasks_pb2

from propeller.fnv import fnv1a_32
from propeller.handlers.tasks._settings import PodSettings
from propeller.workflow import NodeView, fixed_length_id

CHECKPOINTS = "_flytecheckpoints"

_SHARD_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]+")
_NOT_AT_THE_START = re.compile(r"^[^a-zA-Z_]+")
_TEMPLATE_PATH = re.compile(r"\{\{\s*[.$]taskTemplatePath\s*\}\}", re.IGNORECASE)


def template_values(node: NodeView, attempt: int, settings: PodSettings) -> dict[str, str]:
    """What command templates stand for, by lower-case name."""
    execution = node.execution
    inputs_of = node.frame.parent if node.frame.items and not _own_inputs(node) else node.number
    inputs_uri = execution.inputs_uri(inputs_of)
    name = _generated_name(node, attempt)
    raw = raw_output_prefix(node, name, settings)
    previous = '""'
    if attempt:
        previous = f"{raw_output_prefix(node, _generated_name(node, attempt - 1), settings)}/{CHECKPOINTS}"
    return {
        "input": inputs_uri,
        "inputprefix": inputs_uri.removesuffix("/inputs.pb"),
        "outputprefix": execution.output_directory(node.number, attempt),
        "rawoutputdataprefix": raw,
        "checkpointoutputprefix": f"{raw}/{CHECKPOINTS}",
        "prevcheckpointprefix": previous,
        "perretryuniquekey": _NOT_IN_NAMES.sub("_", _NOT_AT_THE_START.sub("a", name)),
        "namespace": execution.info.namespace,
        "tasktemplatepath": template_uri(node),
    }


def raw_output_prefix(node: NodeView, name: str, settings: PodSettings) -> str:
    """`<prefix>/<two characters of a hash>/<name of the attempt>`: spread, as object stores shard by prefix.

    A file:// prefix becomes a plain path: flytekit does not read back what it stored under such a URI.
    """
    prefix = node.execution.info.spec.raw_output_data_config.output_location_prefix or settings.raw_output_prefix
    bucket = fnv1a_32(name.encode()) % len(_SHARD_CHARACTERS) ** 2
    shard = _SHARD_CHARACTERS[bucket // len(_SHARD_CHARACTERS)] + _SHARD_CHARACTERS[bucket % len(_SHARD_CHARACTERS)]
    return f"{prefix.rstrip('/').removeprefix('file://')}/{shard}/{name}"


def template_uri(node: NodeView) -> str:
    """Where a task's own template is put for tasks that ask for it."""
    return f"{node.execution.data_directory(node.number)}/task.pb"


def needs_template(task: tasks_pb2.TaskTemplate) -> bool:
    """Whether a command names `{{.taskTemplatePath}}`, as flytekit's tasks do whose code is in their image."""
    if task.WhichOneof("target") == "k8s_pod":
        return bool(_TEMPLATE_PATH.search(str(task.k8s_pod.pod_spec)))
    return any(map(_TEMPLATE_PATH.search, (*task.container.command, *task.container.args)))


def _generated_name(node: NodeView, attempt: int) -> str:
    """`<execution>-<node>-<attempt>`, or a hash of that where it is long."""
    execution = node.execution
    return fixed_length_id((execution.info.name, execution.unique_id(node.number), str(attempt)), 50)


def _own_inputs(node: NodeView) -> bool:
    array = node.execution.view(node.frame.parent).spec.array
    return array is not None and array.data_mode == 1
