"""What pods claim to be, and what of it is believed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.handlers.plugins import attempt_at, claim_of, is_of, observed_attempts
from propeller.kube import Pod
from propeller.workflow import ObservedAttempt, pod_name
from tests.unit.handlers.build import World, graph, task

NONSENSE = ["", "-1", "x", "1.5", "²", "1e9", "NaN", "٣", "300", "9" * 5000, "+1", "01", " 1", "1_0", "None"]


def pod(name: str, **annotations: str) -> Pod:
    marks = {f"propeller/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return msgspec.convert({"metadata": {"name": name, "namespace": "ns", "annotations": marks}}, Pod)


@pytest.mark.parametrize("attempt", NONSENSE)
def test_a_number_that_no_attempt_can_have_is_none_and_the_name_counts(attempt: str) -> None:
    found = pod("e-a-7", node="a", attempt=attempt, system_failures=attempt)
    assert claim_of(found, "e") == ("a", 7)
    execution = World(graph(task("a"))).execution
    assert attempt_at(execution, 0, found) == 7
    execution.attempts[0] = 7
    assert attempt_at(execution, 0, found) == 7
    assert attempt_at(execution, 0, pod("e-a-x", node="a", attempt=attempt)) is None
    assert is_of(execution, 0, 7, found)


@pytest.mark.parametrize("node", ["b", "", "a" * 100_000, "A-0"])
def test_a_pod_that_claims_another_node_than_its_name_claims_nothing(node: str) -> None:
    assert claim_of(pod("e-a-7", node=node, attempt="7"), "e") is None


def test_a_pod_proves_its_attempt_and_how_many_before_it_were_the_systems_fault() -> None:
    pods = [pod(f"e-a-{n}", node="a", attempt=str(n), system_failures=str(min(n, 2))) for n in (0, 1, 2)]
    assert observed_attempts("e", pods) == {"a": ObservedAttempt(2, 2)}


def test_a_claim_that_skips_more_attempts_than_can_be_missing_is_not_believed() -> None:
    honest = [pod("e-a-0", node="a", attempt="0"), pod("e-a-4", node="a", attempt="4", system_failures="3")]
    forged = [pod("e-a-200", node="a", attempt="200"), pod("e-b-200", node="b", attempt="200")]
    assert observed_attempts("e", honest + forged) == {"a": ObservedAttempt(4, 3)}


@pytest.mark.parametrize("failures", [*NONSENSE, "4", "255"])
def test_more_failures_than_there_can_have_been_are_none(failures: str) -> None:
    pods = [pod(f"e-a-{n}", node="a", attempt=str(n), system_failures=failures) for n in (0, 1)]
    assert observed_attempts("e", pods)["a"] == ObservedAttempt(1, 1 if failures == "1" else 0)


@given(name=st.text(max_size=60), annotations=st.dictionaries(st.sampled_from(["node", "attempt", "path"]), st.text()))
def test_whatever_a_pod_says_it_is_somebodys_attempt_or_nobodys(name: str, annotations: dict[str, str]) -> None:
    found = pod(name, **annotations)
    claim = claim_of(found, "e")
    assert claim is None or (pod_name("e", *claim) == name and 0 <= claim.attempt <= 255)
    assert all(0 <= observed.attempt <= 3 for observed in observed_attempts("e", [found]).values())
    is_of(World(graph(task("a"))).execution, 0, 0, found)


def test_nodes_whose_pods_have_one_name_are_told_apart_by_what_their_pods_say() -> None:
    branch = {"id": "n0", "kind": "branch", "branch": {"if": {"then": "A_b"}, "else": "a-b"}}
    world = World(graph(branch, task("A_b"), task("a-b")))
    execution, (first, second) = world.execution, (world.node("A_b").number, world.node("a-b").number)
    assert execution.pod_name(first, 0) == execution.pod_name(second, 0) == "e-a-b-0"
    found = pod("e-a-b-0", node="A_b", attempt="0")
    assert is_of(execution, first, 0, found)
    assert not is_of(execution, second, 0, found)


def test_nodes_with_the_same_unique_id_are_told_apart_by_their_paths() -> None:
    inside = {"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "w"}}
    world = World(graph(inside, task("n0-0-n1")), w=graph(task("n1")))
    outer = world.node("n0-0-n1").number
    world.open_sub_workflow("n0", "w")
    execution = world.execution
    inner = len(execution.plan.root.nodes)
    assert execution.unique_id(inner) == execution.unique_id(outer)
    assert (execution.path(inner), execution.path(outer)) == ("n0/0/n1", "n0-0-n1")
    found = pod("e-n0-0-n1-0", node="n0-0-n1", attempt="0", path="n0/0/n1")
    assert is_of(execution, inner, 0, found)
    assert not is_of(execution, outer, 0, found)
