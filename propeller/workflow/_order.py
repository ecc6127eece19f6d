"""Check that every node of a graph can end, by its edges and branches; done once per plan.

A branch starts, its chosen case runs, and it ends with its case. So a case that depends on its own branch would wait
forever, and so would a node that depends on a case, which may be skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING

from propeller.errors import Invalid
from propeller.workflow._spec import END_NODE, NodeSpec

if TYPE_CHECKING:
    from propeller.workflow._plan import Graph


def branches_of_cases(nodes: Sequence[NodeSpec], numbers: Mapping[str, int], where: str) -> dict[int, int]:
    """The branch of each node that is a case. Raises Invalid for a case that is no node or has two branches."""
    found: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for target in dict.fromkeys(node.branch.targets) if node.branch is not None else ():
            at = f"{where}.nodes.{node.id}.branch"
            if target not in numbers:
                raise Invalid(f"{at} leads to {target!r}, which is not a node")
            if target == END_NODE:
                raise Invalid(f"{at} leads to the end node: a case must be a node that runs")
            other = found.setdefault(numbers[target], number)
            if other != number:
                raise Invalid(f"{at} leads to {target!r}, which is a case of branch {nodes[other].id!r} already")
    return found


def check_order(graph: Graph, where: str) -> None:
    """Raise Invalid if a node could never start or end; O(nodes + edges)."""
    if graph.end is None:
        raise Invalid(f"{where}.nodes has no {END_NODE!r}: the workflow could not end")
    ended = _that_can_end(graph)
    if not all(ended):
        waiting = [node.id for node, ends in zip(graph.nodes, ended, strict=True) if not ends]
        raise Invalid(f"{where}.edges: nodes wait for each other, among them {', '.join(map(repr, waiting[:3]))}")
    for case, branch in graph.case_of.items():
        if graph.downstream[case]:
            after = graph.nodes[graph.downstream[case][0]].id
            raise Invalid(
                f"{where}.edges.upstream.{after} names {graph.nodes[case].id!r}, a case that may be skipped: "
                f"wait for its branch {graph.nodes[branch].id!r} instead"
            )


def _that_can_end(graph: Graph) -> list[bool]:
    """Whether each node ends if nothing fails: a topological order over the starts and ends of nodes."""
    unmet = graph.unmet[:]
    running_cases = {branch: len(cases) for branch, cases in graph.cases.items()}
    ended = [False] * len(graph.nodes)
    started = list(graph.entries)
    for node in started:  # grows while it is read
        if node in graph.cases:
            _complete_dependency(graph.cases[node], unmet, started)
        ending: int | None = node if node not in graph.cases else None
        while ending is not None:
            ended[ending] = True
            _complete_dependency(graph.downstream[ending], unmet, started)
            branch = graph.case_of.get(ending)
            ending = None
            if branch is not None:
                running_cases[branch] -= 1
                ending = branch if not running_cases[branch] else None
    return ended


def _complete_dependency(nodes: Sequence[int], unmet: MutableSequence[int], started: list[int]) -> None:
    for node in nodes:
        unmet[node] -= 1
        if not unmet[node]:
            started.append(node)
