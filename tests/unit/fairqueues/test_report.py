"""The status of a FairQueue."""

from __future__ import annotations

import msgspec

from propeller.errors import Invalid
from propeller.fairqueues import Verdict
from propeller.fairqueues._report import MAX_TENANTS, conditions, usage_status
from propeller.resourcemgr import PoolUsage, TenantUsage, Usage

POOLS = (PoolUsage("all", 6, 10, 0), PoolUsage("hive", 5, 8, 7), PoolUsage("api", 2, None, 1), PoolUsage("x", 1, 1, 1))


def tenant(*path: str, held: int = 0, waiting: int = 0, weight: float = 1.0) -> TenantUsage:
    return TenantUsage(path, weight, {"hive": held}, {"hive": waiting})


def test_it_has_the_fairqueues_own_pools_and_their_sums() -> None:
    status = usage_status(("all", "hive", "api"), Usage(POOLS))
    assert [pool["name"] for pool in status["pools"]] == ["all", "hive", "api"]
    assert status["pools"][1] == {"name": "hive", "held": 5, "capacity": 8, "waiting": 7}
    assert "capacity" not in status["pools"][2]
    assert (status["usage"], status["waiting"]) == ("all 6/10, hive 5/8, api 2", 8)


def test_a_tenant_has_its_share_and_the_one_that_its_weight_gives_it() -> None:
    tenants = tenant("a", held=4, waiting=3), tenant("b", held=1, waiting=4, weight=3.0), tenant("c")
    status = usage_status(("hive",), Usage(POOLS, tenants))
    assert status["tenants"] == [
        {"name": "a", "held": {"hive": 4}, "waiting": 3, "share": 0.5, "ideal": 0.25},
        {"name": "b", "held": {"hive": 1}, "waiting": 4, "share": 0.125, "ideal": 0.75},
    ]
    assert (status["activeTenants"], status["otherTenants"]) == (2, None)


def test_ideals_of_domains_are_parts_of_their_projects() -> None:
    tenants = tenant("a", held=2), tenant("a", "x", held=1), tenant("a", "y", held=1, weight=3.0), tenant("b", held=1)
    rows = {row["name"]: row["ideal"] for row in usage_status(("hive",), Usage(POOLS, tenants))["tenants"]}
    assert rows == {"a": 0.5, "a/x": 0.125, "a/y": 0.375, "b": 0.5}


def test_it_is_bounded_however_many_tenants_and_whatever_their_names() -> None:
    names = [f"{number}\x1b[2J\n" + "n" * 10_000 for number in range(10_000)]
    tenants = [tenant(name, held=number % 7, waiting=2) for number, name in enumerate(names)]
    status = usage_status(("hive",), Usage(POOLS, tenants))
    assert len(status["tenants"]) == MAX_TENANTS
    assert status["activeTenants"] == 10_000
    assert status["otherTenants"] == {"tenants": 10_000 - MAX_TENANTS, "waiting": 2 * (10_000 - MAX_TENANTS)}
    encoded = msgspec.json.encode(status)
    assert len(encoded) < 32_000
    assert b"\\u001b" not in encoded


def test_those_with_the_largest_shares_are_listed() -> None:
    tenants = [tenant(f"t{number}", held=1) for number in range(200)] + [tenant("big", held=5)]
    status = usage_status(("hive",), Usage(POOLS, tenants))
    assert "big" in [row["name"] for row in status["tenants"]]


def test_the_condition_says_what_is_wrong_and_what_stays_in_force() -> None:
    (wrong,) = conditions(Verdict(None, Invalid("rate is -1")), 4, None, "now")
    assert wrong == {
        "type": "Ready",
        "status": "False",
        "reason": "Invalid",
        "message": "rate is -1; nothing of it is in force",
        "observedGeneration": 4,
        "lastTransitionTime": "now",
    }


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    ready = conditions(Verdict(None), 1, None, "first")
    assert conditions(Verdict(None), 2, ready, "second")[0]["lastTransitionTime"] == "first"
    assert conditions(Verdict(None, Invalid("x")), 2, ready, "second")[0]["lastTransitionTime"] == "second"
    assert conditions(Verdict(None), 1, [{"status": "True"}], "now")[0]["lastTransitionTime"] == "now"
    assert conditions(Verdict(None), 1, "nonsense", "now")[0]["lastTransitionTime"] == "now"
