"""A plan as a graph for Graphviz: `dot -Tsvg`."""

from __future__ import annotations

from collections.abc import Iterator

from propeller.cli._plan_format import condition_text
from propeller.cli._plan_text import title_of
from propeller.text import visible
from propeller.workflow import Graph, NodeKind, Plan

_SHAPES = {
    NodeKind.TASK: "box",
    NodeKind.BRANCH: "diamond",
    NodeKind.WORKFLOW: "folder",
    NodeKind.GATE: "octagon",
    NodeKind.ARRAY: "box3d",
    NodeKind.END: "oval",
}


def to_dot(plan: Plan) -> str:
    """One cluster for the workflow and one for each sub-workflow. Dashed edges lead to the cases of a branch, dotted
    ones to the node that runs on failure.
    """
    graphs = (plan.root, *plan.sub_workflows.values())
    lines = ["digraph workflow {", "  compound=true; rankdir=LR; node [fontname=sans]; edge [fontname=sans];"]
    for number, graph in enumerate(graphs):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(graph.id)};"]
        lines += [f"    {line}" for line in _draw(graph, f"g{number}")]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _draw(graph: Graph, prefix: str) -> Iterator[str]:
    yield f'{prefix}_start [label="inputs" shape=oval];'
    for number, node in enumerate(graph.nodes):
        label = _quoted(f"{node.id}\n{title_of(node)}")
        yield f"{prefix}_{number} [label={label} shape={_SHAPES.get(node.kind, 'box')}];"
    for number in graph.entries:
        yield f"{prefix}_start -> {prefix}_{number};"
    for number, successors in enumerate(graph.downstream):
        for successor in successors:
            yield f"{prefix}_{number} -> {prefix}_{successor};"
    for branch, cases in graph.cases.items():
        spec = graph.nodes[branch].branch
        conditions = {case.then: condition_text(case.condition) for case in spec.cases} if spec is not None else {}
        for case in cases:
            label = _quoted(conditions.get(graph.node_id(case), "else"))
            yield f"{prefix}_{branch} -> {prefix}_{case} [style=dashed label={label}];"
    if graph.failure is not None:
        yield f'{prefix}_start -> {prefix}_{graph.failure} [style=dotted label="on failure"];'


def _quoted(text: str) -> str:
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
