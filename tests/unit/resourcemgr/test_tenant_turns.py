"""Turns of tenants, weighted at every level."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from propeller.resourcemgr import Path, TenantTurns
from tests.examples import examples


def serve(turns: TenantTurns, tenants: list[Path], times: int, costs: dict[Path, float] | None = None) -> list[Path]:
    """Who has the next turns, if all of these want one all the time."""
    order = []
    for _ in range(times):
        chosen = min(tenants, key=turns.start)
        turns.served(chosen, (costs or {}).get(chosen, 1.0))
        order.append(chosen)
    return order


def test_tenants_take_turns() -> None:
    order = serve(TenantTurns(), [("a",), ("b",), ("c",)], 9)
    assert order == [("a",), ("b",), ("c",)] * 3


def test_domains_of_a_project_share_its_turns() -> None:
    counts = Counter(serve(TenantTurns(), [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x")], 600))
    assert counts == {("a", "x"): 100, ("a", "y"): 100, ("a", "z"): 100, ("b", "x"): 300}


def test_turns_follow_weights() -> None:
    weights = {("a",): 2.0, ("b", "x"): 3.0}
    counts = Counter(
        serve(TenantTurns(lambda path: weights.get(path, 1.0)), [("a", "x"), ("b", "x"), ("b", "y")], 1200)
    )
    assert counts == {("a", "x"): 800, ("b", "x"): 300, ("b", "y"): 100}


def test_one_that_comes_is_next_and_has_saved_up_nothing() -> None:
    turns = TenantTurns()
    serve(turns, [("a",)], 1000)
    order = serve(turns, [("a",), ("b",)], 10)
    assert order[:2].count(("b",)) >= 1
    assert order.count(("b",)) == 5


def test_a_turn_that_costs_more_is_followed_by_fewer() -> None:
    counts = Counter(serve(TenantTurns(), [("a",), ("b",)], 900, {("a",): 8.0}))
    assert counts == {("a",): 100, ("b",): 800}


def test_of_very_many_tenants_few_are_remembered() -> None:
    turns = TenantTurns()
    for number in range(20_000):
        turns.served((f"p{number}", "d"))
    assert len(turns._finish) <= 4096
    assert len(turns._virtual) <= 4097


@examples(200)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2),
    st.integers(10, 200),
    st.integers(0, 50),
)
def test_while_all_want_each_has_its_part_within_a_turn(weights: dict[str, float], times: int, alone: int) -> None:
    turns = TenantTurns(lambda path: weights[path[0]])
    tenants: list[Path] = [(name,) for name in weights]
    serve(turns, tenants[:1], alone)
    counts = Counter(serve(turns, tenants, times))
    for one in weights:
        for other in weights:
            ahead = counts[one,] / weights[one] - counts[other,] / weights[other]
            assert ahead <= 1 / weights[one] + 1 / weights[other] + 1e-9
