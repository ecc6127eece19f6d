"""Where executions and attempts go."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.routing import Capacity, ClusterState, Placement, State, Table, Waiting, decide
from propeller.routing._reachable import unreachable
from tests.examples import examples
from tests.unit.growth import grows_beyond
from tests.unit.routing.tables import (
    ALL,
    ANY,
    attempt,
    cluster,
    clusters,
    declared,
    execution,
    placed,
    pool,
    rule,
    table,
)

DOWN = ClusterState(healthy=False, reason="no answer for 30 s")
KEYS = [f"ns/e{number}" for number in range(400)]


def spread(table: Table, states: Any = None, **attributes: Any) -> set[str]:
    """The clusters that many executions go to; "" if some wait."""
    return {placed(table, execution(key, **attributes), states or {}) for key in KEYS}


# rules


def test_the_first_rule_that_matches_decides() -> None:
    of = table(
        *clusters("a", "b", "c"),
        pool("pa", "a"),
        pool("pb", "b"),
        ALL,
        rule("ml-production", "pa", projects="ml", domains="production"),
        rule("ml", "pb", projects="ml"),
        ANY,
    )
    assert placed(of, execution(project="ml", domain="production")) == "a"
    assert placed(of, execution(project="ml", domain="development")) == "b"
    assert spread(of, project="etl") == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("match", "matching", "other"),
    [
        ({"projects": "ml"}, {"project": "ml"}, {"project": "ml2"}),
        ({"projects": "ml*"}, {"project": "ml2"}, {"project": "xml"}),
        ({"projects": ("a", "b*")}, {"project": "bc"}, {"project": "ab"}),
        ({"domains": "production"}, {"domain": "production"}, {}),
        ({"workflows": "flows.train.*"}, {"workflow": "flows.train.wf"}, {"workflow": "flows.train"}),
        ({"launch_plans": "nightly"}, {"launch_plan": "nightly"}, {}),
        ({"labels": {"team": "x"}}, {"labels": {"team": "x", "y": "z"}}, {"labels": {"team": "y"}}),
        ({"selector": "team in (x, y), !old"}, {"labels": {"team": "y"}}, {"labels": {"team": "y", "old": ""}}),
        ({"selector": "team!=x"}, {}, {"labels": {"team": "x"}}),
        ({"selector": "team"}, {"labels": {"team": ""}}, {}),
        ({"projects": "ml", "domains": "d"}, {"project": "ml", "domain": "d"}, {"project": "ml", "domain": "e"}),
    ],
)
def test_a_rule_matches_by_names_prefixes_and_labels(match: Any, matching: Any, other: Any) -> None:
    of = table(*clusters("a"), pool("pa", "a"), rule("r", "pa", **match))
    assert placed(of, execution(**matching)) == "a"
    assert placed(of, execution(**other)) == ""


@pytest.mark.parametrize(
    ("match", "matching", "other"),
    [
        ({"task_types": "spark"}, {"task": {"type": "spark"}}, {"task": {"type": "python-task"}}),
        ({"resources": {"nvidia.com/gpu": 2}}, {"gpus": 2}, {"gpus": 1}),
        ({"resources": {"nvidia.com/gpu": "1"}}, {"gpus": 8}, {}),
        ({"accelerators": "nvidia-*"}, {"task": {"accelerator": "nvidia-l4"}}, {"task": {"accelerator": "tpu"}}),
        ({"interruptible": True}, {"task": {"interruptible": True}}, {}),
        ({"interruptible": False}, {}, {"task": {"interruptible": True}}),
        ({"labels": {"size": "xl"}, "task_types": "*"}, {"labels": {"size": "xl"}}, {"labels": {"size": "s"}}),
    ],
)
def test_a_rule_about_tasks_places_attempts_alone(match: Any, matching: Any, other: Any) -> None:
    of = table(*clusters("a", "b"), pool("pa", "a"), pool("pb", "b"), rule("r", "pa", **match), rule("any", "pb"))
    assert of.has_task_rules
    assert placed(of, attempt(**matching), current="b") == "a"
    assert placed(of, attempt(**other), current="b") == "b"
    assert placed(of, execution()) == "b", "an execution as a whole has nothing of a task"


def test_labels_of_a_task_count_in_rules_about_tasks_alone() -> None:
    """Else a rule would place attempts by them or not, depending on whether another rule is about tasks."""
    of = table(
        *clusters("a", "b"),
        pool("pa", "a"),
        pool("pb", "b"),
        rule("tasks", "pa", labels={"size": "xl"}, task_types="*"),
        rule("executions", "pa", labels={"size": "l"}),
        rule("any", "pb"),
    )
    assert placed(of, attempt(task={"labels": {"size": "xl"}})) == "a"
    assert placed(of, attempt(task={"labels": {"size": "l"}})) == "b"
    assert placed(of, attempt(labels={"size": "l"})) == "a"


def test_without_a_rule_that_matches_it_waits_and_the_reason_names_it() -> None:
    of = table(*clusters("a"), pool("pa", "a"), rule("ml", "pa", projects="ml"))
    found = decide(of, execution(project="e\x1btl", domain="d"), {})
    assert found == Waiting("no rule of the routing table matches project e\\x1btl, domain d")


# clusters


def test_weights_share_executions_and_a_cluster_of_weight_0_gets_none() -> None:
    of = table(cluster("a", weight=3.0), cluster("b"), cluster("c", weight=0.0), ALL, ANY)
    found = [placed(of, execution(key)) for key in KEYS]
    assert found.count("c") == 0
    assert 2 < found.count("a") / found.count("b") < 4.5


def test_lower_priorities_get_work_only_if_none_of_a_higher_one_can_take_it() -> None:
    of = table(cluster("a", priority=5), cluster("b", priority=5), cluster("c"), cluster("d", priority=-1), ALL, ANY)
    assert spread(of) == {"a", "b"}
    assert spread(of, {"a": DOWN}) == {"b"}
    assert spread(of, {"a": DOWN, "b": DOWN}) == {"c"}
    assert spread(of, {"a": DOWN, "b": DOWN, "c": DOWN}) == {"d"}


@pytest.mark.parametrize(
    ("state", "new", "stays"),
    [(State.ACTIVE, True, True), (State.CORDONED, False, True), (State.DRAINING, False, False)],
)
def test_what_a_state_lets_a_cluster_take(state: State, new: bool, stays: bool) -> None:
    of = table(cluster("a", state=state), cluster("b"), ALL, ANY)
    assert ("a" in spread(of)) is new
    for subject in (execution(), attempt()):
        assert (placed(of, subject, current="a") == "a") is stays


def test_a_cluster_that_bakes_takes_work_of_pools_that_name_it_and_is_no_fallback() -> None:
    of = table(
        cluster("a", state=State.BAKE),
        *clusters("b", "c"),
        ALL,
        pool("canary", "a", "b"),
        pool("pc", "c"),
        rule("some", "canary", projects="ml"),
        rule("etl", "pc", projects="etl", fallbacks=("canary",)),
        ANY,
    )
    assert spread(of, project="ml") == {"a", "b"}
    assert spread(of, project="other") == {"b", "c"}
    assert spread(of, {"c": DOWN}, project="etl") == {"b"}
    found = decide(of, execution(project="etl"), {"c": DOWN, "b": DOWN})
    assert isinstance(found, Waiting)
    assert "a bakes, and is no fallback" in found.reason


def test_capacity_limits_new_executions_and_attempts() -> None:
    of = table(cluster("a", capacity=Capacity(pods=10, executions=2)), cluster("b"), ALL, ANY)
    full, busy = {"a": ClusterState(executions=2, pods=9)}, {"a": ClusterState(pods=10)}
    assert "a" in spread(of, {"a": ClusterState(executions=1, pods=9)})
    assert spread(of, full) == {"b"}
    assert placed(of, attempt(), full, current="a") == "a", "its execution is counted already"
    assert spread(of, busy) == {"b"}
    assert placed(of, attempt(), busy, current="a") == "b"
    assert placed(of, execution(), busy, current="a") == "a", "the execution itself needs no pod"


def test_a_cluster_without_room_in_a_quota_gets_nothing_new_and_keeps_its_executions() -> None:
    of = table(cluster("a"), cluster("b"), ALL, ANY)
    full = {"a": ClusterState(full="quota q: 10 of 10 pods used")}
    assert spread(of, full) == {"b"}
    assert placed(of, attempt(), full, current="a") == "b"
    assert placed(of, execution(), full, current="a") == "a"
    found = decide(of, execution(), {name: ClusterState(full=f"quota {name}\n") for name in "ab"})
    assert isinstance(found, Waiting)
    assert found.reason.endswith("rule any: a is full (quota a\\n), b is full (quota b\\n)")


# pools, fallbacks, isolation


def test_fallbacks_are_tried_in_their_order_and_the_reason_says_why() -> None:
    of = table(
        *clusters("a", "b", "c"),
        pool("pa", "a"),
        pool("pb", "b"),
        pool("pc", "c"),
        rule("r", "pa", fallbacks=("pc", "pb")),
    )
    assert placed(of, execution(), {"a": DOWN}) == "c"
    found = decide(of, execution(), {"a": DOWN, "c": ClusterState(healthy=False)})
    assert isinstance(found, Placement)
    assert (found.cluster, found.pool, found.rule, found.fallback) == ("b", "pb", "r", True)
    assert found.reason == ("rule r: b, of pool pb, a fallback: a is unhealthy (no answer for 30 s), c is unhealthy")


def test_an_isolated_rule_never_spills_and_nobody_elses_work_lands_in_its_pool() -> None:
    of = table(
        *clusters("a", "b", labels={"team": "ml"}),
        cluster("c"),
        pool("ml", selector="team=ml"),
        ALL,
        rule("ml", "ml", isolate=True, projects="ml"),
        ANY,
    )
    assert spread(of, project="ml") == {"a", "b"}
    assert spread(of, project="etl") == {"c"}
    assert spread(of, {"a": DOWN, "b": DOWN}, project="ml") == {""}
    assert spread(of, {"c": DOWN}, project="etl") == {""}
    assert placed(of, execution(project="etl"), current="a") == "c", "not even if it was there before"


def test_when_all_are_down_it_waits_with_the_reason_of_each() -> None:
    of = table(
        cluster("a"), cluster("b", state=State.CORDONED), cluster("c", capacity=Capacity(executions=3)), ALL, ANY
    )
    found = decide(of, execution(), {"a": DOWN, "c": ClusterState(executions=4)})
    assert found == Waiting(
        "no cluster can take it: rule any: a is unhealthy (no answer for 30 s), b is cordoned, "
        "c is full (4 of 3 executions)",
        "any",
    )


def test_a_reason_is_short_however_many_clusters_there_are() -> None:
    names = [f"c{number}" for number in range(60)]
    of = table(*clusters(*names), ALL, ANY)
    states = {name: ClusterState(healthy=False, reason="x\n" * 1000) for name in names}
    found = decide(of, execution(), states)
    assert isinstance(found, Waiting)
    assert "and 50 more" in found.reason
    assert len(found.reason) < 3000
    assert "\n" not in found.reason


# stickiness


def test_an_execution_stays_where_it_is_whatever_weights_say_by_now() -> None:
    of = table(cluster("a", weight=0.0), cluster("b", priority=9), ALL, ANY)
    found = decide(of, execution(), {}, "a")
    assert isinstance(found, Placement)
    assert (found.cluster, found.kept) == ("a", True)
    assert found.reason == "rule any: it stays on a, of pool all"


def test_an_execution_in_a_fallback_stays_there_when_its_own_pool_is_back() -> None:
    of = table(*clusters("a", "b"), pool("pa", "a"), pool("pb", "b"), rule("r", "pa", fallbacks=("pb",)))
    found = decide(of, execution(), {}, "b")
    assert isinstance(found, Placement)
    assert (found.cluster, found.fallback, found.kept) == ("b", True, True)


@pytest.mark.parametrize("current", ["gone", "a"])
def test_it_does_not_stay_where_the_table_no_longer_has_it(current: str) -> None:
    of = table(*clusters("a", "b"), pool("pb", "b"), rule("r", "pb"))
    assert placed(of, execution(), current=current) == "b"


def test_it_does_not_stay_on_a_cluster_that_is_down() -> None:
    of = table(*clusters("a", "b"), ALL, ANY)
    for subject in (execution(), attempt()):
        assert placed(of, subject, {"a": DOWN}, current="a") == "b"


def test_an_attempt_that_a_task_rule_places_is_beside_its_execution_if_it_can_be() -> None:
    of = table(
        cluster("a"),
        cluster("b"),
        cluster("c", state=State.CORDONED),
        cluster("d", priority=-1),
        pool("gpu", "a", "b", "c", "d"),
        ALL,
        rule("gpu", "gpu", resources={"nvidia.com/gpu": 1}),
        ANY,
    )
    for current in ("a", "b", "c"):
        assert {placed(of, attempt(key, gpus=1), current=current) for key in KEYS} == {current}
    assert {placed(of, attempt(key, gpus=1), current="d") for key in KEYS} == {"a", "b"}, "of a lower priority"
    assert placed(of, attempt(gpus=1), {"a": DOWN, "b": DOWN}, current="d") == "d"


def test_an_attempt_that_a_task_rule_places_goes_to_its_pool_rather_than_stay_in_a_fallback() -> None:
    of = table(
        *clusters("a", "b"),
        pool("gpu", "b"),
        ALL,
        rule("gpu", "gpu", fallbacks=("all",), resources={"nvidia.com/gpu": 1}),
        ANY,
    )
    assert placed(of, attempt(gpus=1), current="a") == "b"
    assert placed(of, attempt(gpus=1), {"b": DOWN}, current="a") == "a"


# properties

PROJECTS, LABELS = ["a", "b", "ab"], st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["x", "y"]))
SUBJECTS = st.builds(
    lambda key, project, domain, labels, gpus, kind, spot: (
        execution(key, project=project, domain=domain, labels=labels)
        if kind is None
        else attempt(
            key, project=project, domain=domain, labels=labels, gpus=gpus, task={"type": kind, "interruptible": spot}
        )
    ),
    st.sampled_from(KEYS),
    st.sampled_from(PROJECTS),
    st.sampled_from(["d", "e"]),
    LABELS,
    st.integers(0, 3),
    st.sampled_from([None, "spark", "container"]),
    st.booleans(),
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "projects": st.sampled_from([("a",), ("a*",), ("a", "b"), ("*",)]),
        "domains": st.sampled_from([("d",), ("d", "e")]),
        "labels": LABELS,
        "selector": st.sampled_from(["", "k", "!k", "k!=x", "k in (x, y)"]),
        "task_types": st.sampled_from([("spark",), ("*",)]),
        "resources": st.sampled_from([{"nvidia.com/gpu": 1}, {"nvidia.com/gpu": 2}]),
        "interruptible": st.booleans(),
    },
)


@given(st.lists(MATCHES, min_size=1, max_size=12), SUBJECTS)
@examples(400)
def test_the_index_finds_the_rule_that_a_look_at_all_of_them_finds(matches: list[Any], subject: Any) -> None:
    rules = [rule(f"r{number}", "all", **one) for number, one in enumerate(matches)]
    of = Table(declared(*clusters("a"), ALL, *rules), is_checked=True)
    expected = next((one.name for one in of.rules if one.matches(subject)), None)
    found = of.rule_for(subject)
    assert (found.name if found is not None else None) == expected


@given(st.lists(MATCHES, min_size=2, max_size=8), st.lists(SUBJECTS, min_size=20, max_size=40))
@examples(200)
def test_a_rule_that_is_said_to_be_unreachable_is_reached_by_nothing(matches: list[Any], subjects: list[Any]) -> None:
    rules = [rule(f"r{number}", "all", **one) for number, one in enumerate(matches)]
    dead = {rules[place].name for place, _ in unreachable(rules, ())}
    of = Table(declared(*clusters("a"), ALL, *rules), is_checked=True)
    for subject in subjects:
        found = of.rule_for(subject)
        assert found is None or found.name not in dead


STATES = st.dictionaries(
    st.sampled_from("abcde"),
    st.builds(
        lambda healthy, pods, executions: ClusterState(healthy=healthy, pods=pods, executions=executions),
        st.booleans(),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
)


@given(st.randoms(use_true_random=False), STATES, SUBJECTS, st.sampled_from(["", *"abcdef"]))
@examples(400)
def test_no_work_is_placed_against_a_rule(
    randomness: random.Random, states: dict[str, ClusterState], subject: Any, current: str
) -> None:
    """Whatever the states: in a pool of its rule, never in a stranger's isolated pool, never on what is down, draining
    or full."""
    every = [
        cluster(
            name,
            state=randomness.choice(list(State)[:3]),
            weight=randomness.choice([0.0, 1.0, 2.0]),
            priority=randomness.choice([0, 1]),
            capacity=Capacity(pods=randomness.choice([None, 2]), executions=randomness.choice([None, 2])),
        )
        for name in "bcde"
    ]
    of = table(
        cluster("a", weight=1.0),
        *every,
        cluster("z", weight=1.0),
        pool("own", "a"),
        ALL,
        pool("some", *randomness.sample("bcde", 2), "z"),
        rule("mine", "own", isolate=True, projects="a"),
        rule("gpu", "some", resources={"nvidia.com/gpu": 1}, fallbacks=("all",)),
        rule("any", "all", fallbacks=("some",)),
    )
    found = decide(of, subject, states, current)
    if isinstance(found, Waiting):
        return
    chosen, state = of.clusters[found.cluster], states.get(found.cluster, ClusterState())
    assert (found.cluster == "a") is (subject.project == "a")
    assert state.healthy
    assert chosen.state is not State.DRAINING
    if subject.task is not None and chosen.capacity.pods is not None:
        assert state.pods < chosen.capacity.pods
    if found.cluster != current:
        assert chosen.state is State.ACTIVE
        assert chosen.weight > 0
        assert (
            subject.task is not None
            or chosen.capacity.executions is None
            or (state.executions < chosen.capacity.executions)
        )
    assert found == decide(of, subject, dict(reversed(states.items())), current)


@given(st.sampled_from("abcd"), st.lists(st.sampled_from(KEYS), min_size=50, max_size=50, unique=True))
@examples(40)
def test_a_cluster_that_goes_down_moves_its_own_executions_alone(down: str, keys: list[str]) -> None:
    of = table(*clusters("a", "b"), *clusters("c", "d", weight=2.0), ALL, ANY)
    for key in keys:
        before, after = placed(of, execution(key)), placed(of, execution(key), {down: DOWN})
        assert after == before if before != down else after not in ("", down)


def test_a_decision_costs_no_more_with_many_rules_than_with_few() -> None:
    def tables(rules: int) -> Table:
        mixed = [
            rule(f"r{n}", "all", projects=f"p{n}", selector="!x")
            if n % 2
            else rule(f"r{n}", "all", projects=f"p{n % 20}", labels={"team": f"t{n}"})
            for n in range(rules)
        ]
        return table(*clusters("a", "b"), ALL, *mixed, ANY)

    few, many = tables(10), tables(1000)
    subjects = [execution(f"ns/{n}", project=f"p{n}", labels={"team": f"t{n}", "a": "b"}) for n in range(0, 1000, 10)]

    def place(of: Table) -> None:
        for subject in subjects:
            decide(of, subject, {})

    assert not grows_beyond(3, lambda: place(few), lambda: place(many))
