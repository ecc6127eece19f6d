"""Which tokens a task takes, by the operator's rules and its author's list."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.resourcemgr import Demand, Pool, ResourceOptions, Rule, check_options, needs_of, text_of, wanted_pools

RULES = (
    Rule(pools={"all": 1}),
    Rule(project="ml", pools={"ml": 1}),
    Rule(project="ml", domain="production", pools={"ml": 2}),
    Rule(task_type="spark", labels={"team": "a", "size": "big"}, pools={"spark": 1}),
    Rule(resources={"gpus": "nvidia.com/gpu", "cores": "cpu", "mib": "memory"}),
)


def test_all_rules_that_match_count_and_of_one_pool_the_last() -> None:
    assert needs_of(Demand(), RULES) == (("all", 1),)
    assert needs_of(Demand(project="ml"), RULES) == (("all", 1), ("ml", 1))
    assert needs_of(Demand(project="ml", domain="production"), RULES) == (("all", 1), ("ml", 2))


def test_a_rule_asks_for_all_its_labels() -> None:
    some, every = (
        Demand(task_type="spark", labels={"team": "a"}),
        Demand(task_type="spark", labels={"team": "a", "size": "big", "x": "y"}),
    )
    assert ("spark", 1) not in needs_of(some, RULES)
    assert ("spark", 1) in needs_of(every, RULES)


def test_requests_are_counted_in_whole_tokens() -> None:
    requests = {"nvidia.com/gpu": Decimal(4), "cpu": Decimal("0.2501"), "memory": Decimal(3 * 1024**2 + 1)}
    assert needs_of(Demand(requests=requests), RULES) == (("all", 1), ("cores", 251), ("gpus", 4), ("mib", 4))


def test_what_the_author_wants_goes_before_the_rules() -> None:
    assert needs_of(Demand(project="ml", wanted="ml=5, hive-primary"), RULES) == (
        ("all", 1),
        ("hive-primary", 1),
        ("ml", 5),
    )


@pytest.mark.parametrize(
    "text",
    [
        "a=0",
        "a=-1",
        "a=1.5",
        "a=",
        "=1",
        "a b",
        "a,,b",
        "a=1,a=2",
        "a=٣",
        "x" * 5000,
        "a=99999999999999999",
        ",".join(f"p{n}" for n in range(65)),
    ],
)
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="propeller/pools"):
        wanted_pools(text)


@given(st.text(max_size=50))
def test_any_text_is_a_list_or_is_refused(text: str) -> None:
    try:
        found = wanted_pools(text)
    except Invalid:
        return
    assert wanted_pools(text_of(found)) == found


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (Rule(pools={"nope": 1}), "rules[0] takes tokens of 'nope', which is no pool"),
        (Rule(resources={"nope": "cpu"}), "rules[0] takes tokens of 'nope', which is no pool"),
        (Rule(pools={"a": -1}), "rules[0] takes -1 tokens of 'a'"),
    ],
)
def test_a_rule_that_can_mean_nothing_is_refused(rule: Rule, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_options(ResourceOptions(pools=(Pool(name="a", capacity=1),), rules=(rule,)))
    assert word in str(refused.value)
