"""Show a plan as text, step by step, with the dependencies of each node.

Guarantees
    Linear in nodes and edges. Only the middle of long lists and literals is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from propeller.cli._plan_format import binding_text, condition_text
from propeller.text import one_line
from propeller.workflow import FailurePolicy, Graph, NodeKind, NodeSpec, Plan

_NAME = re.compile(r'\bname:"((?:[^"\\]|\\.)*)"')


def explain(plan: Plan) -> str:
    """The workflow and its sub-workflows. Nodes of one step may run at the same time; a case of a branch is listed
    below its branch, and runs when it is chosen.
    """
    lines = list(_explain_graph(plan.root, f"workflow {plan.root.id}"))
    for graph in plan.sub_workflows.values():
        lines.append("")
        lines.extend(_explain_graph(graph, f"sub-workflow {graph.id}"))
    return "\n".join(map(one_line, lines)) + "\n"


def steps_of(graph: Graph) -> list[list[int]]:
    """Node numbers by step: one step after the last node that each waits for."""
    unmet = graph.unmet[:]
    step = [0] * len(graph.nodes)
    todo = list(graph.entries)
    for number in todo:  # grows while it is read
        for successor in (*graph.downstream[number], *graph.cases.get(number, ())):
            step[successor] = max(step[successor], step[number] + 1)
            unmet[successor] -= 1
            if not unmet[successor]:
                todo.append(successor)
    found: list[list[int]] = [[] for _ in range(max((step[number] for number in todo), default=-1) + 1)]
    for number in todo:
        if number not in graph.case_of:
            found[step[number]].append(number)
    return [numbers for numbers in found if numbers]


def title_of(node: NodeSpec) -> str:
    """Describe in a few words what the node runs."""
    match node.kind:
        case NodeKind.TASK:
            return f"task {short_name(node.task)}"
        case NodeKind.WORKFLOW if node.workflow is not None and node.workflow.sub_workflow_ref:
            return f"sub-workflow {short_name(node.workflow.sub_workflow_ref)}"
        case NodeKind.WORKFLOW:
            return f"launch plan {node.launch_plan.name if node.launch_plan is not None else ''}"
        case NodeKind.ARRAY if node.array is not None:
            return f"map of {title_of_inner(node.array.sub_node_spec)}"
        case NodeKind.END:
            return "outputs"
        case kind:
            return f"{kind} {node.name}".rstrip()


def title_of_inner(node: NodeSpec) -> str:
    """Describe what an array repeats: in nested arrays, the innermost node."""
    depth = 0
    while node.array is not None:
        node, depth = node.array.sub_node_spec, depth + 1
    return f"{'map of ' * depth}{title_of(node)}"


def short_name(key: str) -> str:
    """The name in an identifier's text, or all of it."""
    match = _NAME.search(key)
    return match.group(1) if match is not None else key


def _explain_graph(graph: Graph, title: str) -> Iterator[str]:
    steps = steps_of(graph)
    policy = "" if graph.policy is FailurePolicy.FAIL_IMMEDIATELY else "; a failure stops only what needs it"
    count = len(graph.nodes) - (graph.end is not None) - (graph.failure is not None)
    yield f"{title}: {_counted(count, 'node')} in {_counted(len(steps), 'step')}{policy}"
    width = len(str(len(steps)))
    waits = _upstream(graph)
    for index, numbers in enumerate(steps, start=1):
        for position, number in enumerate(numbers):
            first, last = position == 0, position == len(numbers) - 1
            bracket = "─" if first and last else "┬" if first else "└" if last else "├"
            label = str(index) if first else ""
            yield f"{label:>{width + 1}} {bracket} {_headline(graph.nodes[number])}"
            rail = " " * (width + 2) + (" " if last else "│") + "     "
            for line in _details(graph, number, waits):
                yield rail + line
    if graph.failure is not None:
        node = graph.nodes[graph.failure]
        yield f"{'!':>{width + 1}} ─ {_headline(node)}, when the workflow fails"
        for line in _bindings(node, ()):
            yield " " * (width + 8) + line


def _headline(node: NodeSpec) -> str:
    return f"{node.id}  {title_of(node)}"


def _details(graph: Graph, number: int, waits: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines below a node; cases of a branch, and of branches in it, are indented below theirs."""
    stack = [(number, "")]
    while stack:
        number, indent = stack.pop()
        node = graph.nodes[number]
        if indent:
            yield f"{indent[:-4]}┊ {_headline(node)}"
        for line in _bindings(node, waits[number]):
            yield indent + line
        for line in _branch_lines(node):
            yield indent + line
        stack.extend((case, indent + "    ") for case in reversed(graph.cases.get(number, ())))


def _bindings(node: NodeSpec, waits: Sequence[str]) -> Iterator[str]:
    bound: set[str] = set()
    for name, words, providers in binding_text(node.input_bindings):
        bound |= providers
        yield f"{name} = {words}"
    after = [node_id for node_id in waits if node_id not in bound]
    if after:
        yield f"after {', '.join(after)}"


def _branch_lines(node: NodeSpec) -> Iterator[str]:
    if node.branch is None:
        return
    for index, case in enumerate(node.branch.cases):
        yield f"{'if' if not index else 'elif'} {condition_text(case.condition)}: {case.then}"
    if node.branch.else_:
        yield f"else: {node.branch.else_}"
    elif node.branch.else_fail is not None:
        yield f"else fail: {node.branch.else_fail.get('message', '')}"


def _upstream(graph: Graph) -> list[list[str]]:
    """Ids of the nodes that each waits for."""
    found: list[list[str]] = [[] for _ in graph.nodes]
    for number, successors in enumerate(graph.downstream):
        for successor in successors:
            found[successor].append(graph.node_id(number))
    return found


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
