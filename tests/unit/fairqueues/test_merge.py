"""Which FairQueues are in force, and what they say together with the settings."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.fairqueues import FairQueue, Merged, merge
from propeller.resourcemgr import Pool, ResourceOptions, Rule, Tenant, check_options, kept_of
from tests.unit.fairqueues.queues import pools, queue

NOTHING = ResourceOptions()
SETTINGS = ResourceOptions(
    pools=(Pool(name="all", capacity=100), Pool(name="hive", capacity=10, parent="all")),
    tenants=(Tenant(name="ml", weight=2.0, limits={"all": 50, "hive": 5}),),
    rules=(Rule(pools={"all": 1}),),
)


def capacities(found: Merged) -> dict[str, int | None]:
    check_options(found.options)
    return {pool.name: pool.capacity for pool in found.options.pools}


def refusal(found: Merged, name: str) -> str:
    error = found.verdicts[f"uid-{name}"].refused
    return "" if error is None else str(error)


def again(found: Merged, *queues: FairQueue, settings: ResourceOptions = NOTHING) -> Merged:
    """The same process, later."""
    accepted = {uid: verdict.accepted for uid, verdict in found.verdicts.items() if verdict.accepted is not None}
    return merge(settings, queues, accepted)


def restarted(found: Merged, *queues: FairQueue, settings: ResourceOptions = NOTHING) -> Merged:
    """Another process, which knows the statuses alone."""
    written = []
    for one in queues:
        verdict = found.verdicts.get(one.metadata.uid)
        accepted = None if verdict is None else verdict.accepted
        status = None if accepted is None else {"accepted": {"generation": accepted.generation, "spec": accepted.spec}}
        written.append(FairQueue(metadata=one.metadata, spec=one.spec, status=status))
    return merge(settings, written, {})


def test_a_fairqueue_goes_before_the_settings_pool_by_pool() -> None:
    found = merge(SETTINGS, [queue("a", pools(hive=30, gpus=8))], {})
    assert capacities(found) == {"all": 100, "hive": 30, "gpus": 8}
    assert found.verdicts["uid-a"].replaces == ("hive",)
    assert found.options.tenants == SETTINGS.tenants
    assert found.options.rules == SETTINGS.rules


def test_a_tenant_keeps_of_the_settings_what_a_fairqueue_does_not_say() -> None:
    spec = {**pools(hive=30), "tenants": [{"name": "ml", "limits": {"hive": 20}}]}
    found = merge(SETTINGS, [queue("a", spec)], {})
    assert found.options.tenants == (Tenant(name="ml", weight=2.0, limits={"all": 50, "hive": 20}),)
    spec["tenants"] = [{"name": "ml", "weight": 1}]
    assert merge(SETTINGS, [queue("a", spec)], {}).options.tenants[0].weight == 1.0


def test_rules_of_a_fairqueue_come_after_those_of_the_settings() -> None:
    spec = {**pools(hive=30), "rules": [{"taskType": "hive", "pools": {"hive": 2}}]}
    found = merge(SETTINGS, [queue("a", spec)], {})
    assert found.options.rules == (*SETTINGS.rules, Rule(task_type="hive", pools={"hive": 2}))


def test_without_fairqueues_the_settings_are_in_force() -> None:
    found = merge(SETTINGS, [queue("a", pools(hive=30))], {})
    assert again(found, settings=SETTINGS).options == SETTINGS


def test_lending_of_two_that_declare_a_tenant_is_put_together() -> None:
    tenants = [{"name": "a", "lending": {"hive": 1}}, {"name": "b"}]
    one = queue("one", {**pools(hive=30), "tenants": tenants})
    two = queue("two", {**pools(spark=4), "tenants": [{"name": "a", "lending": {"spark": 0}}]})
    options = merge(NOTHING, [one, two], {}).options
    assert [tenant.lending for tenant in options.tenants] == [{"hive": 1, "spark": 0}, {}]
    assert kept_of(options) == {"hive": {("a",): 14}, "spark": {("a",): 2}}


def test_borrowing_becomes_a_limit() -> None:
    spec = {**pools(hive=30), "tenants": [{"name": name, "borrowing": {"hive": 1}} for name in "abc"]}
    found = merge(NOTHING, [queue("a", spec)], {})
    assert [tenant.limits for tenant in found.options.tenants] == [{"hive": 11}] * 3


BAD = [
    ({"pools": [{"name": "p"}]}, "pool 'p' limits nothing"),
    ({"pools": [{"name": "p", "capacity": -1}]}, "capacity of pool 'p' is -1"),
    ({"pools": [{"name": "p", "rate": 0.0}]}, "rate of pool 'p' is 0.0"),
    ({"pools": [{"name": "p", "capacity": "9"}]}, r"Expected `int \| null`, got `str` - at `\$.pools\[0\].capacity`"),
    ({"pools": [{"name": "p", "capacity": 1}] * 2}, "pool 'p' is there twice"),
    ({"pools": [{"name": "p", "capacity": 1, "parent": "q"}]}, "parent 'q', which is no pool"),
    (
        {
            "pools": [
                {"name": "p", "capacity": 1, "parent": "q"},
                {"name": "q", "capacity": 1, "parent": "p"},
            ]
        },
        "are in a cycle",
    ),
    ({"pools": [{"name": "p", "capacity": 1, "colour": "red"}]}, "unknown field `colour`"),
    ({"tenants": [{"name": "t", "limits": {"p": 1}}]}, "limit for 'p', which is no pool"),
    ({"tenants": [{"name": "t//u"}]}, "tenant 't//u'"),
    ({"tenants": [{"name": "t", "weight": 0}]}, "weight of tenant 't' is 0"),
    ({"rules": [{"pools": {"p": 1}}]}, r"rules\[0\] takes tokens of 'p', which is no pool"),
    ({"rules": [{"task_type": "x"}]}, "unknown field `task_type`"),
    ("text", "Expected `object`, got `str`"),
    (None, "Expected `object`, got `null`"),
    ({"pools": [{"name": f"p{number}", "capacity": 1} for number in range(20_000)]}, "more than 262144 bytes"),
]


@pytest.mark.parametrize(("spec", "word"), BAD, ids=[word for _, word in BAD])
def test_a_spec_that_is_wrong_leaves_in_force_what_was_accepted(spec: Any, word: str) -> None:
    first = merge(NOTHING, [queue("a", pools(hive=30))], {})
    for later in (again, restarted):
        found = later(first, queue("a", spec, generation=2))
        assert capacities(found) == {"hive": 30}
        accepted = found.verdicts["uid-a"].accepted
        assert accepted is not None
        assert accepted.generation == 1
        with pytest.raises(Exception, match=word):
            raise found.verdicts["uid-a"].refused or AssertionError
    assert capacities(merge(SETTINGS, [queue("a", spec)], {})) == capacities(merge(SETTINGS, [], {}))


def test_a_spec_that_is_mended_is_in_force() -> None:
    first = merge(NOTHING, [queue("a", {"pools": [{"name": "p"}]})], {})
    found = again(first, queue("a", pools(p=1), generation=2))
    assert capacities(found) == {"p": 1}
    assert refusal(found, "a") == ""


def test_of_two_that_declare_a_pool_at_once_the_older_has_it() -> None:
    young, old = queue("a", pools(hive=1, x=1), created=5), queue("b", pools(hive=2), created=1)
    found = merge(NOTHING, [young, old], {})
    assert capacities(found) == {"hive": 2}
    assert refusal(found, "a") == "pool 'hive' belongs to FairQueue 'b': rename it, or remove it from one"


def test_a_pool_stays_with_the_fairqueue_that_has_it() -> None:
    old, young = queue("a", pools(x=1), created=1), queue("b", pools(hive=2), created=5)
    first = merge(NOTHING, [old, young], {})
    for later in (again, restarted):
        found = later(first, queue("a", pools(x=9, hive=1), created=1, generation=2), young)
        assert capacities(found) == {"x": 1, "hive": 2}, "not even the older one takes it away"
        assert "belongs to FairQueue 'b'" in refusal(found, "a")


@pytest.mark.parametrize("created", [1, 9])
def test_a_pool_that_one_gives_up_goes_to_another_that_declares_it(created: int) -> None:
    owner, other = queue("a", pools(hive=1), created=5), queue("b", pools(hive=2), created=created + 1)
    first = merge(NOTHING, [owner], {})
    found = again(first, owner, other)
    assert capacities(found) == {"hive": 1}
    assert capacities(again(found, queue("a", pools(x=1), created=5, generation=2), other)) == {"x": 1, "hive": 2}
    assert capacities(again(found, other)) == {"hive": 2}, "and so if it is deleted"


def test_two_may_not_give_a_tenant_unlike_weights() -> None:
    first = queue("a", {**pools(x=1), "tenants": [{"name": "ml", "weight": 2}]}, created=1)
    same = queue("b", {**pools(y=1), "tenants": [{"name": "ml", "weight": 2, "limits": {"y": 1}}]}, created=2)
    other = queue("c", {**pools(z=1), "tenants": [{"name": "ml", "weight": 3}]}, created=3)
    found = merge(NOTHING, [first, same, other], {})
    assert refusal(found, "b") == ""
    assert refusal(found, "c").startswith("tenant 'ml' has weight 3, and 2 by FairQueue 'a'")
    assert found.options.tenants == (Tenant(name="ml", weight=2.0, limits={"y": 1}),)


def test_the_order_in_which_they_are_read_does_not_matter() -> None:
    queues = [queue(name, pools(**{name: 1, "shared": number}), created=number) for number, name in enumerate("abc")]
    one, other = merge(NOTHING, queues, {}), merge(NOTHING, queues[::-1], {})
    assert one.options == other.options
    assert [refusal(one, name) for name in "abc"] == [refusal(other, name) for name in "abc"]
    assert [bool(refusal(one, name)) for name in "abc"] == [False, True, True]


def test_what_a_status_claims_was_accepted_is_checked_like_a_spec() -> None:
    for claimed in ({"generation": 1, "spec": {"pools": [{"name": "p"}]}}, {"generation": "x"}, "x", None):
        found = merge(NOTHING, [queue("a", {"pools": 1}, status={"accepted": claimed})], {})
        assert found.options == NOTHING
        assert found.verdicts["uid-a"].accepted is None
