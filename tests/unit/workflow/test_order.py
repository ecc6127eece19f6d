"""A graph in which a node could never start or end is refused when its plan is made, with the field that says so."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import Invalid
from tests.unit.workflow.drive import graph, plan, task

BRANCH: dict[str, Any] = {"if": {"condition": {}, "then": "yes"}, "else": "no"}


def _with_branch(*more: dict[str, Any], edges: list[tuple[str, str]]) -> dict[str, Any]:
    branch = {"id": "b", "kind": "branch", "branch": BRANCH}
    return graph(branch, task("yes"), task("no"), *more, edges=edges)


def test_a_case_that_waits_for_its_own_branch_is_refused() -> None:
    with pytest.raises(Invalid, match=r"spec\.edges: nodes wait for each other, among them 'b', 'yes'"):
        plan(_with_branch(edges=[("b", "yes")]))


def test_a_case_that_waits_for_a_successor_of_its_branch_is_refused() -> None:
    with pytest.raises(Invalid, match="nodes wait for each other"):
        plan(_with_branch(task("x"), edges=[("b", "x"), ("x", "yes")]))


def test_a_case_may_wait_for_a_node_that_its_branch_does_not_depend_on() -> None:
    plan(_with_branch(task("x"), edges=[("x", "yes")]))


def test_a_node_that_waits_for_a_case_which_may_be_skipped_is_refused() -> None:
    with pytest.raises(Invalid, match=r"upstream\.x names 'no', a case .* wait for its branch 'b'"):
        plan(_with_branch(task("x"), edges=[("no", "x")]))


def test_a_case_of_two_branches_is_refused() -> None:
    other = {"id": "c", "kind": "branch", "branch": BRANCH}
    with pytest.raises(Invalid, match="'yes', which is a case of branch 'b' already"):
        plan(_with_branch(other, edges=[]))


def test_a_branch_that_leads_to_itself_or_to_the_end_is_refused() -> None:
    for target in ("b", "end-node"):
        branch = {"id": "b", "kind": "branch", "branch": {"if": {"condition": {}, "then": target}, "else": "no"}}
        with pytest.raises(Invalid, match=r"spec\.(edges|nodes\.b)"):
            plan(graph(branch, task("no")))


def test_a_branch_may_have_the_same_case_twice_and_branches_inside() -> None:
    twice = {"id": "b", "kind": "branch", "branch": {"if": {"condition": {}, "then": "c"}, "else": "c"}}
    inside = {"id": "c", "kind": "branch", "branch": BRANCH}
    plan(graph(twice, inside, task("yes"), task("no")))


def test_a_graph_without_an_end_node_is_refused() -> None:
    without = graph(task("a"))
    del without["nodes"]["end-node"]
    with pytest.raises(Invalid, match=r"spec\.nodes has no 'end-node'"):
        plan(without)


def test_a_node_under_another_key_than_its_id_is_refused() -> None:
    renamed = graph(task("a"))
    renamed["nodes"]["other"] = renamed["nodes"].pop("a")
    with pytest.raises(Invalid, match=r"spec\.nodes\.other\.id is 'a'"):
        plan(renamed)
