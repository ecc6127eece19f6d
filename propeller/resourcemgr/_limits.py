"""Limits as an operator writes them: pools of tokens, and the tenants that share them; checked as a whole.

Guarantees
    `check` returns for limits that hold no contradiction, and names the field, the value and what to write instead
    otherwise. Nothing else in this package meets limits that were not checked.
Errors
    Invalid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import msgspec

from propeller.errors import Invalid

MAX_POOLS = 10_000
MAX_DEPTH = 16
"""Pools from a root to a leaf, and names in a tenant's path."""

MAX_TOKENS = 2**53
"""Of one pool: what a float holds exactly, so that tokens of a rate and tokens that are held compare exactly."""

SEPARATOR = "/"

MAX_NAME = 253
"""Characters of a pool's name."""

POOL_NAME = r"[A-Za-z0-9][-A-Za-z0-9_.]*"
"""What can be written into the annotation `propeller/pools`, which says what a running pod holds."""

_POOL_NAME = re.compile(POOL_NAME)

Path = tuple[str, ...]
"""A tenant: ("ml", "production") is domain production of project ml."""


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tokens that tasks share. What is taken from a pool is taken from its parents as well."""

    name: str

    capacity: int | None = None
    """Tokens that may be held at once; 0 pauses the pool: claims wait. None: any number."""

    rate: float | None = None
    """Tokens a second that may be taken; none of them is given back. None: any number."""

    burst: int | None = None
    """Tokens that may be taken at once after a pause; by default those of one second, and at least 1."""

    parent: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a project, or a domain of it, may have. Tenants that are not listed have weight 1 and no limits."""

    name: str
    """Its path: `ml`, or `ml/production`."""

    weight: float = 1.0
    """Its share relative to those beside it, when they want more than there is."""

    limits: Mapping[str, int] = {}
    """Tokens that it may hold at once, by pool."""

    borrowing: Mapping[str, int] = {}
    """Tokens that it may hold beyond its share, by pool: 0 for no more than its share. Its share is that part of the
    pool's capacity which its weight is of the weights of all tenants that are listed beside it. By default it may
    borrow whatever others leave unused.
    """

    lending: Mapping[str, int] = {}
    """Tokens of its share that others may hold, by pool: 0 for none. The rest of its share is kept for it, also while
    it does not use it: others that wait leave it idle. By default others may hold whatever it leaves unused.
    """


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All pools and tenants. `generation` orders two versions: the newer one wins everywhere."""

    pools: tuple[Pool, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    generation: int = 0

    max_bypass: int = 64
    """Claims that may overtake a bigger one for which a pool had too few tokens left. After so many the pool is saved
    up for it. Small, and big claims leave tokens idle while they are saved up for; large, and they wait for long.
    """


def path_of(name: str) -> Path:
    """The path of a tenant's name. Raises Invalid if a part of it is empty or there are too many."""
    path = tuple(name.split(SEPARATOR))
    if not all(path) or len(path) > MAX_DEPTH:
        raise Invalid(
            f"tenant {name!r}: write 1 to {MAX_DEPTH} names with {SEPARATOR!r} between them, such as ml/production"
        )
    return path


def check(limits: Limits) -> None:
    """Raise Invalid for limits that contradict themselves."""
    if len(limits.pools) > MAX_POOLS:
        raise Invalid(f"{len(limits.pools)} pools are more than {MAX_POOLS}")
    if limits.max_bypass < 0:
        raise Invalid(f"max_bypass is {limits.max_bypass}: it has to be 0 or more")
    _unique("pool", (pool.name for pool in limits.pools))
    _unique("tenant", (tenant.name for tenant in limits.tenants))
    by_name = {pool.name: pool for pool in limits.pools}
    for pool in limits.pools:
        _check_pool(pool)
        lineage(pool.name, by_name)
    for tenant in limits.tenants:
        _check_tenant(tenant, by_name)


def lineage(name: str, pools: Mapping[str, Pool]) -> tuple[Pool, ...]:
    """The pool and those above it, from the pool to its root. Raises Invalid for an unknown one and for a cycle."""
    found: list[Pool] = []
    while name:
        pool = pools.get(name)
        if pool is None:
            what = f"pool {found[-1].name!r} has parent {name!r}, which" if found else f"{name!r}"
            raise Invalid(f"{what} is no pool; known are {_some(pools)}")
        if pool in found:
            raise Invalid(
                f"pools {' -> '.join(one.name for one in (*found, pool))} are in a cycle: one needs another parent"
            )
        found.append(pool)
        if len(found) > MAX_DEPTH:
            raise Invalid(f"pool {found[0].name!r} has more than {MAX_DEPTH - 1} pools above it")
        name = pool.parent
    return tuple(found)


def _check_pool(pool: Pool) -> None:
    if not pool.name:
        raise Invalid("a pool has no name")
    if len(pool.name) > MAX_NAME or not _POOL_NAME.fullmatch(pool.name):
        raise Invalid(
            f"pool {pool.name[:MAX_NAME]!r}: write at most {MAX_NAME} letters, digits, '-', '_' and '.', and begin "
            "with a letter or a digit"
        )
    if pool.capacity is None and pool.rate is None:
        raise Invalid(f"pool {pool.name!r} limits nothing: give it a capacity, a rate, or both")
    if pool.capacity is not None and not 0 <= pool.capacity <= MAX_TOKENS:
        raise Invalid(f"capacity of pool {pool.name!r} is {pool.capacity}: it has to be 0 to {MAX_TOKENS}")
    if pool.rate is not None and not (0 < pool.rate <= MAX_TOKENS and math.isfinite(pool.rate)):
        raise Invalid(f"rate of pool {pool.name!r} is {pool.rate}: it has to be a positive number of tokens a second")
    if pool.burst is not None and pool.rate is None:
        raise Invalid(f"pool {pool.name!r} has a burst without a rate: give it a rate, or no burst")
    if pool.burst is not None and not 1 <= pool.burst <= MAX_TOKENS:
        raise Invalid(f"burst of pool {pool.name!r} is {pool.burst}: it has to be 1 to {MAX_TOKENS}")


def _check_tenant(tenant: Tenant, pools: Mapping[str, Pool]) -> None:
    path_of(tenant.name)
    if not (0 < tenant.weight < math.inf):
        raise Invalid(f"weight of tenant {tenant.name!r} is {tenant.weight}: it has to be a positive, finite number")
    for field, amounts in (("limit", tenant.limits), ("borrowing", tenant.borrowing), ("lending", tenant.lending)):
        for name, amount in amounts.items():
            if name not in pools:
                raise Invalid(
                    f"tenant {tenant.name!r} has a {field} for {name!r}, which is no pool; known are {_some(pools)}"
                )
            if not 0 <= amount <= MAX_TOKENS:
                raise Invalid(
                    f"{field} of tenant {tenant.name!r} for pool {name!r} is {amount}: it has to be 0 to {MAX_TOKENS}"
                )
    for field, amounts in (("borrowing", tenant.borrowing), ("lending", tenant.lending)):
        for name in amounts:
            if pools[name].capacity is None:
                raise Invalid(
                    f"tenant {tenant.name!r} has a {field} for pool {name!r}, which has no capacity and so no shares: "
                    f"give the pool a capacity, or the tenant no {field}"
                )


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Invalid(f"{kind} {name!r} is there twice: merge them")
        seen.add(name)


def _some(names: Iterable[str]) -> str:
    """Names for a message: few of many."""
    every = sorted(names)
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "") if every else "none"
