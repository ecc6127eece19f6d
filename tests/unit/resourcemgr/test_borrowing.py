"""What tenants may borrow, as limits."""

from __future__ import annotations

import msgspec
import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Pool, ResourceOptions, Tenant, check, shares_of, with_borrowing

HIVE = Pool(name="hive", capacity=70)


def limits(*tenants: Tenant, pool: Pool = HIVE) -> dict[str, dict[str, int]]:
    found = with_borrowing(ResourceOptions(pools=(pool,), tenants=tenants))
    assert not any(tenant.borrowing for tenant in found.tenants)
    return {tenant.name: dict(tenant.limits) for tenant in found.tenants}


def test_a_tenant_may_hold_its_share_and_what_it_may_borrow() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 4.0}
    tenants = [Tenant(name=name, weight=weight, borrowing={"hive": 5}) for name, weight in weights.items()]
    assert limits(*tenants) == {"a": {"hive": 15}, "b": {"hive": 25}, "c": {"hive": 45}}


def test_a_share_is_rounded_up_so_that_no_token_is_left_to_nobody() -> None:
    tenants = [Tenant(name=name, borrowing={"hive": 0}) for name in "abc"]
    assert limits(*tenants) == {name: {"hive": 24} for name in "abc"}


def test_a_limit_that_is_lower_goes_before_what_may_be_borrowed() -> None:
    assert limits(Tenant(name="a", limits={"hive": 3}, borrowing={"hive": 5})) == {"a": {"hive": 3}}
    assert limits(Tenant(name="a", limits={"hive": 90}, borrowing={"hive": 5})) == {"a": {"hive": 75}}


def test_shares_of_domains_are_parts_of_their_projects_share() -> None:
    named = ("ml/production", 3.0), ("ml/development", 1.0), ("etl", 1.0)
    shares = shares_of(Tenant(name=name, weight=weight) for name, weight in named)
    assert shares[("ml",)] == 0.5
    assert shares[("ml", "production")] == pytest.approx(0.375)
    assert shares[("etl",)] == 0.5


def test_a_paused_pool_lends_nothing_of_its_own() -> None:
    assert limits(Tenant(name="a", borrowing={"hive": 2}), pool=Pool(name="hive", capacity=0)) == {"a": {"hive": 2}}


@pytest.mark.parametrize("field", ["borrowing", "lending"])
@pytest.mark.parametrize(
    ("pool", "amounts", "word"),
    [
        (HIVE, {"hove": 1}, "has a {field} for 'hove', which is no pool; known are hive"),
        (HIVE, {"hive": -1}, "{field} of tenant 'a' for pool 'hive' is -1"),
        (Pool(name="hive", rate=1.0), {"hive": 1}, "which has no capacity and so no shares"),
    ],
)
def test_borrowing_or_lending_that_can_mean_nothing_is_refused(
    field: str, pool: Pool, amounts: dict[str, int], word: str
) -> None:
    tenant = msgspec.convert({"name": "a", field: amounts}, Tenant)
    with pytest.raises(Invalid, match=word.format(field=field)):
        check(ResourceOptions(pools=(pool,), tenants=(tenant,)))


@pytest.mark.parametrize("name", ["gpu pool", "a=b", "a,b", "-a", "ä", "x" * 300])
def test_a_pool_has_a_name_that_an_annotation_can_hold(name: str) -> None:
    """Else a controller that starts could not read what the pods that run hold."""
    with pytest.raises(Invalid, match=r"letters, digits"):
        check(ResourceOptions(pools=(Pool(name=name, capacity=1),)))
