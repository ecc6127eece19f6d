"""Make a plan of a resource that the compiler has just built, in batches of nodes.

Guarantees
    Equal to `parse_plan` of the resource as one document, with the same errors.
    No call of a codec handles more than `BATCH` nodes. The document of 50,000 nodes has 23 MB: to decode it at once
    holds the interpreter for 100 ms, in a thread too, and with it the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.workflow._plan import Plan, parse_plan
from propeller.workflow._spec import ClosureSpec, Edges, GraphSpec, NodeSpec

T = TypeVar("T")

BATCH = 500
"""Nodes, or nodes with edges: about a millisecond of a codec."""

_encode = msgspec.json.encode
_NODES = msgspec.json.Decoder(dict[str, NodeSpec])
_UPSTREAM = msgspec.json.Decoder(dict[str, tuple[str, ...]])
_GRAPH = msgspec.json.Decoder(GraphSpec)


def plan_of_built(built: Mapping[str, Any], digest: str) -> Plan:
    """Return the plan of `spec`, `tasks` and `subWorkflows`. Raises Invalid with the path of the first bad field."""
    try:
        closure = ClosureSpec(
            spec=_graph(built["spec"]),
            tasks={key: msgspec.Raw(_encode(task)) for key, task in built.get("tasks", {}).items()},
            sub_workflows={key: _graph(graph) for key, graph in built.get("subWorkflows", {}).items()} or None,
        )
    except UNDECODABLE:
        return parse_plan(_encode(built), digest)  # which names the field
    return Plan(closure, digest)


def _graph(graph: Mapping[str, Any]) -> GraphSpec:
    rest = _GRAPH.decode(_encode({**graph, "nodes": {}, "edges": {}}))
    return msgspec.structs.replace(
        rest,
        nodes=_in_batches(graph["nodes"], _NODES),
        edges=Edges(upstream=_in_batches((graph.get("edges") or {}).get("upstream") or {}, _UPSTREAM)),
    )


def _in_batches(values: Mapping[str, Any], decoder: msgspec.json.Decoder[dict[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for batch in _batches(values):
        found |= decoder.decode(_encode(batch))
    return found


def _batches(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = iter(values.items())
    while batch := dict(islice(items, BATCH)):
        yield batch
