"""Why a decision comes out as it does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propeller.routing import ClusterState, Placement, State, decide, explain
from tests.examples import examples
from tests.unit.routing.tables import ALL, ANY, attempt, cluster, clusters, execution, pool, rule, table

OF = table(
    cluster("a", priority=2),
    cluster("b", weight=3.0),
    cluster("c", state=State.CORDONED),
    cluster("d"),
    pool("pa", "a"),
    ALL,
    rule("ml", "pa", projects=("ml", "ml-*"), domains="production", selector="!old", fallbacks=("all",)),
    rule("gpu", "all", resources={"nvidia.com/gpu": 2}, interruptible=False),
    rule("etl", "all", projects="etl"),
    ANY,
)


def test_each_rule_says_why_it_does_not_match() -> None:
    found = explain(OF, attempt(project="etl", labels={"old": "x"}, gpus=1, task={"interruptible": True}), {})
    assert [(one.rule, one.matches, one.decides) for one in found.rules] == [
        ("ml", False, False),
        ("gpu", False, False),
        ("etl", True, True),
        ("any", True, False),
    ]
    assert found.rules[0].misses == (
        "it asks for project ml or ml-*, and here is project etl",
        "it asks for domain production, and here is domain not known",
        "it asks for no label old, and here is label old=x",
    )
    assert found.rules[1].misses == (
        "it asks for nvidia.com/gpu at least 2, and here is nvidia.com/gpu 1",
        "it asks for not interruptible, and here is interruptible",
    )
    whole = explain(OF, execution(project="etl"), {})
    assert whole.rules[1].misses == ("it is about tasks, and this is an execution as a whole",)


def test_candidates_are_in_the_order_in_which_they_are_asked_with_what_stands_in_their_way() -> None:
    found = explain(OF, execution(project="ml", domain="production"), {"a": ClusterState(healthy=False, reason="x")})
    assert isinstance(found.outcome, Placement)
    assert [(one.pool, one.fallback, one.cluster) for one in found.candidates[:2]] == [
        ("pa", False, "a"),
        ("all", True, "a"),
    ]
    assert found.candidates[0].obstacle == "is unhealthy (x)"
    assert found.outcome.cluster == next(one.cluster for one in found.candidates if not one.obstacle)
    last = found.candidates[-1]
    assert (last.cluster, last.score, last.obstacle) == ("c", None, "is cordoned")


def test_without_a_rule_there_are_no_candidates() -> None:
    of = table(*clusters("a"), ALL, rule("ml", "all", projects="ml"))
    found = explain(of, execution(project="etl"), {})
    assert found.candidates == ()
    assert not any(one.decides for one in found.rules)


@given(st.integers(0, 300), st.sets(st.sampled_from("abcd")), st.sampled_from(["ml", "etl", ""]), st.booleans())
@examples(200)
def test_the_first_candidate_without_an_obstacle_is_where_it_goes(
    number: int, down: set[str], project: str, is_task: bool
) -> None:
    states = {name: ClusterState(healthy=False) for name in down}
    make = attempt if is_task else execution
    subject = make(f"ns/{number}", project=project, domain="production")
    found = explain(OF, subject, states)
    assert found.outcome == decide(OF, subject, states)
    first = next((one for one in found.candidates if not one.obstacle), None)
    if isinstance(found.outcome, Placement):
        assert first is not None
        assert (first.cluster, first.pool, first.fallback) == (
            found.outcome.cluster,
            found.outcome.pool,
            found.outcome.fallback,
        )
    else:
        assert first is None
