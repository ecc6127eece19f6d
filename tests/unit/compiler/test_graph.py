"""Cycles and reach, against what is plainly so."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from propeller.compiler._graph import find_cycle, reachable

graphs = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), max_size=6)


def _paths_back(downstream: dict[str, set[str]], node: str) -> bool:
    """Whether a node can be reached from its own successors."""
    return any(node in reachable(downstream, successor) for successor in downstream.get(node, ()))


@given(graphs)
def test_a_reachable_cycle_is_found(downstream: dict[str, set[str]]) -> None:
    cycle = find_cycle(downstream, "a")
    assert bool(cycle) == any(_paths_back(downstream, node) for node in reachable(downstream, "a"))
    for node, successor in pairwise(cycle):
        assert successor in downstream[node]
    assert not cycle or cycle[0] == cycle[-1]


def test_layers_with_a_million_paths_are_searched_at_once() -> None:
    downstream = {
        f"{layer}-{n}": {f"{layer + 1}-{other}" for other in range(10)} for layer in range(60) for n in range(10)
    }
    assert find_cycle(downstream, "0-0") == []
    assert len(reachable(downstream, "0-0")) == 601


def test_a_long_way_does_not_exhaust_the_stack() -> None:
    downstream = {str(number): {str(number + 1)} for number in range(20_000)}
    assert find_cycle(downstream, "0") == []
    downstream["20000"] = {"0"}
    assert len(find_cycle(downstream, "0")) == 20_002
