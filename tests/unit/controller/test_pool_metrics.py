"""Metrics of pools and tenants: what is held, what waits and for how long, and shares against the ideal."""

from __future__ import annotations

import asyncio

from propeller.controller._pool_metrics import OTHERS, label_of
from propeller.resourcemgr import Pool, ResourceOptions, Rule, Tenant
from tests.unit.controller.bench import RAW_PODS, Bench, bench
from tests.unit.controller.test_tokens import NODES, _create, _succeed

LIMITED = ResourceOptions(
    pools=(Pool(name="db", capacity=2), Pool(name="calls", rate=100.0)),
    rules=(Rule(pools={"db": 1}),),
    tenants=(Tenant(name="ml", weight=3.0),),
)


def _of_tenant(of: Bench, name: str, tenant: str) -> float:
    return of.measured(name, tenant=tenant)


async def test_pools_say_what_they_hold_and_tenants_their_share_against_the_ideal() -> None:
    async with bench(resources=LIMITED) as of, of.controller():
        await _create(of, "w", *NODES, labels={"project": "etl"})
        await _create(of, "v", *NODES[:2], labels={"project": "ml"})
        assert of.measured("propeller_pool_held", pool="db") == 2
        assert of.measured("propeller_pool_capacity", pool="db") == 2
        assert of.measured("propeller_pool_waiting", pool="db") == 5
        text = of.metrics.text().decode()
        assert 'propeller_pool_capacity{pool="calls"}' not in text
        assert 'tenant="etl"' not in text, "strangers' names are no labels"
        assert _of_tenant(of, "propeller_tenant_share", OTHERS) == 1.0
        assert _of_tenant(of, "propeller_tenant_share_ideal", "ml") == 0.75
        assert _of_tenant(of, "propeller_tenant_share_ideal", OTHERS) == 0.25


async def test_the_time_that_claims_wait_is_counted_by_tenant_and_only_if_they_wait() -> None:
    async with bench(resources=LIMITED) as of, of.controller():
        await _create(of, "w", *NODES[:2], labels={"project": "etl"})
        await _create(of, "v", *NODES[:1], labels={"project": "ml", "domain": "production"})
        await asyncio.sleep(55.0)
        assert not of.measured("propeller_pool_wait_seconds_count")
        await _succeed(of, "w-n0-0")
        assert of.measured("propeller_pool_wait_seconds_count", tenant="ml") == 1
        assert 55.0 <= of.measured("propeller_pool_wait_seconds_sum", tenant="ml") <= 66.0
        assert (await of.user.get(RAW_PODS, "v-n0-0", "ns"))["metadata"]["name"] == "v-n0-0"


def test_a_tenant_counts_for_the_innermost_one_that_is_named() -> None:
    named = frozenset({("ml",), ("ml", "production")})
    assert label_of(("ml", "production"), named) == "ml/production"
    assert label_of(("ml", "development"), named) == "ml"
    assert label_of(("etl", "production"), named) == OTHERS
