"""Warnings for constructs that Flyte silently accepts although it does not do what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flyteidl.core import workflow_pb2

from propeller.compiler._ids import END_NODE, START_NODE


def find_warnings(
    template: workflow_pb2.WorkflowTemplate, sub_workflows: Sequence[workflow_pb2.WorkflowTemplate] = ()
) -> tuple[str, ...]:
    """Sentences for the author of a workflow that compiles: nodes that are dropped, order that has no effect."""
    return tuple(warning for unit in (template, *sub_workflows) for warning in _warnings_of(unit))


def _warnings_of(template: workflow_pb2.WorkflowTemplate) -> Iterator[str]:
    where = f"workflow {template.id.name!r}"
    first: dict[str, workflow_pb2.Node] = {}
    for node in template.nodes:
        if node.id in {START_NODE, END_NODE}:
            yield f"{where}: a node is named {node.id!r} like the one that Flyte adds, and is dropped: rename it"
        elif node.id in first:
            differs = "" if node == first[node.id] else ", which is another one,"
            yield f"{where}: there are two nodes {node.id!r}; the second{differs} is dropped: rename it"
        else:
            first[node.id] = node
    for node in first.values():
        for upstream in node.upstream_node_ids:
            if upstream not in first and upstream != START_NODE:
                yield f"{where}: node {node.id!r} is to run after {upstream!r}, which does not exist: it does not wait"
