"""Bindings in JSON. Most are promises of one output: those are written without going through the general encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flyteidl.core import literals_pb2

from propeller.compiler._json import to_json


def bindings_json(bindings: Iterable[literals_pb2.Binding]) -> list[dict[str, Any]]:
    return [_binding_json(binding) for binding in bindings]


def _binding_json(binding: literals_pb2.Binding) -> dict[str, Any]:
    data = binding.binding
    name = binding.var
    if not name or data.WhichOneof("value") != "promise" or data.HasField("union"):
        return to_json(binding)
    promise = data.promise
    node_id, output = promise.node_id, promise.var
    if not node_id or not output or promise.attr_path:
        return to_json(binding)
    return {"var": name, "binding": {"promise": {"nodeId": node_id, "var": output}}}
