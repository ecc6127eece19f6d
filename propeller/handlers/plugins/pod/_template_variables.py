"""Compute the values of command templates: where an attempt reads and writes (flyteplugins core/template, ioutils)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from propeller.fnv import fnv1a_32
from propeller.handlers.plugins._settings import PodSettings
from propeller.workflow import NodeView, fixed_length_id

CHECKPOINTS = "_flytecheckpoints"

_SHARD_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]+")
_NOT_AT_THE_START = re.compile(r"^[^a-zA-Z_]+")


def template_values(node: NodeView, attempt: int, settings: PodSettings, names: Iterable[str]) -> dict[str, str]:
    """Return the values of those of `names` that exist, by lower-case name."""
    return {name: _VALUES[name](node, attempt, settings) for name in names if name in _VALUES}


def _inputs_uri(node: NodeView, attempt: int, settings: PodSettings) -> str:
    return node.execution.inputs_uri(node.frame.parent if node.frame.items and not _own_inputs(node) else node.number)


def _output_prefix(node: NodeView, attempt: int, settings: PodSettings) -> str:
    directory = node.execution.output_directory(node.number, attempt)
    return directory.rpartition("/")[0] if node.graph.appends_index else directory


def _raw_outputs(node: NodeView, attempt: int, settings: PodSettings) -> str:
    return raw_output_prefix(node, _generated_name(node, attempt), settings)


def _previous_checkpoints(node: NodeView, attempt: int, settings: PodSettings) -> str:
    return f"{_raw_outputs(node, attempt - 1, settings)}/{CHECKPOINTS}" if attempt else '""'


def _unique_key(node: NodeView, attempt: int, settings: PodSettings) -> str:
    return _NOT_IN_NAMES.sub("_", _NOT_AT_THE_START.sub("a", _generated_name(node, attempt)))


_VALUES: Mapping[str, Callable[[NodeView, int, PodSettings], str]] = {
    "input": _inputs_uri,
    "inputprefix": lambda *attempt: _inputs_uri(*attempt).removesuffix("/inputs.pb"),
    "outputprefix": _output_prefix,
    "rawoutputdataprefix": _raw_outputs,
    "checkpointoutputprefix": lambda *attempt: f"{_raw_outputs(*attempt)}/{CHECKPOINTS}",
    "prevcheckpointprefix": _previous_checkpoints,
    "perretryuniquekey": _unique_key,
    "namespace": lambda node, *_: node.execution.info.namespace,
    "tasktemplatepath": lambda node, *_: template_uri(node),
}


def raw_output_prefix(node: NodeView, name: str, settings: PodSettings) -> str:
    """Return `<prefix>/<two characters of a hash>/<name of the attempt>`: spread, as object stores shard by prefix.

    A file:// prefix becomes a plain path: flytekit cannot read what it stored under such a URI.
    """
    prefix = node.execution.info.spec.raw_output_data_config.output_location_prefix or settings.raw_output_prefix
    bucket = fnv1a_32(name.encode()) % len(_SHARD_CHARACTERS) ** 2
    shard = _SHARD_CHARACTERS[bucket // len(_SHARD_CHARACTERS)] + _SHARD_CHARACTERS[bucket % len(_SHARD_CHARACTERS)]
    return f"{prefix.rstrip('/').removeprefix('file://')}/{shard}/{name}"


def template_uri(node: NodeView) -> str:
    """Return where a task's template is stored for tasks that read it."""
    return f"{node.execution.data_directory(node.number)}/task.pb"


def _generated_name(node: NodeView, attempt: int) -> str:
    """Return `<execution>-<node>-<attempt>`, or a hash of it if it is too long."""
    execution = node.execution
    return fixed_length_id((execution.info.name, execution.unique_id(node.number), str(attempt)), 50)


def _own_inputs(node: NodeView) -> bool:
    array = node.execution.view(node.frame.parent).spec.array
    return array is not None and array.data_mode == 1
