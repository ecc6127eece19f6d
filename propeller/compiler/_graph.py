"""Cycles and reach, in time linear in nodes and edges. (Flyte's search is exponential on layered graphs.)"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping


def find_cycle(downstream: Mapping[str, Collection[str]], start: str) -> list[str]:
    """Return the nodes of a cycle that is reachable from `start`, the first one repeated at the end; empty if there is
    none.
    """
    done: set[str] = set()
    path: dict[str, Iterator[str]] = {start: iter(sorted(downstream.get(start, ())))}
    while path:
        node, successors = next(reversed(path.items()))
        for successor in successors:
            if successor in path:
                nodes = list(path)
                return [*nodes[nodes.index(successor) :], successor]
            if successor not in done:
                path[successor] = iter(sorted(downstream.get(successor, ())))
                break
        else:
            del path[node]
            done.add(node)
    return []


def reachable(downstream: Mapping[str, Collection[str]], start: str) -> set[str]:
    """Nodes that can be reached from `start`, itself too."""
    seen = {start}
    todo = [start]
    while todo:
        for successor in downstream.get(todo.pop(), ()):
            if successor not in seen:
                seen.add(successor)
                todo.append(successor)
    return seen
