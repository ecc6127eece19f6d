"""What a process and the store tell each other: one statement, one answer.

Guarantees
    A statement says what the process has and wants in absolute numbers. Those of what did not change since the last
    answer may be left out, unless `is_full`.
    Texts are made of percent-encoded parts, so that their separators occur in no name: a tenant is `ml/production`,
    what a claim takes is `hive=2,cluster=2` (a pool's parents and the tenant's own limits included).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from propeller.resourcemgr._lending import kept_of
from propeller.resourcemgr._limits import Limits, Path, Pool, Tenant, path_of
from propeller.resourcemgr._pools import OF_TENANT, title_of

Held = tuple[str, str, int]
"""Tenant, what a claim takes, and how many such claims are held."""

Run = tuple[str, int, int, float]
"""Claims of a tenant that wait one after the other and take the same: what each takes, how many they are, their
priority, and the store's time in milliseconds at which the first came.
"""

MAX_TENANTS = 1000
"""In a report."""

MAX_RUNS = 32
"""Of a tenant in a statement. What is behind them is stated when these have been served."""


class Rules(msgspec.Struct, frozen=True):
    """Limits as the store needs them. Of pools: capacity and rate (-1: none), burst, and whether tenants share it."""

    generation: int
    digest: str
    source: str
    """The limits as JSON, for processes that have older ones."""
    pools: dict[str, tuple[float, float, float, bool]]
    weights: dict[str, float]
    max_bypass: int
    kept: dict[str, dict[str, int]] = {}
    """By pool and tenant, tokens that only the tenant may hold."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """From a process."""

    member: str
    number: int
    """The store refuses one that is not newer than the last."""
    is_full: bool
    ttl: int
    """Milliseconds for which the store keeps the process's tokens without another statement."""
    generation: int
    digest: str
    """Of the limits that the process is configured with."""
    using: str
    """Digest of the limits by which it states what claims take: its own, or those that the store has told it."""
    is_due: bool = False
    """Whether time may have made room for a claim."""
    rules: Rules | None = None
    """Its own; left out if the store is believed to know what to do without."""
    held: tuple[Held, ...] = ()
    waiting: tuple[tuple[str, tuple[Run, ...], int], ...] = ()
    """By tenant: its runs, and how many claims wait behind them that are not stated."""
    is_asking: bool = False
    """Whether it wants a report."""
    is_candidate: bool = False
    """Whether it can speak for all."""


class Report(msgspec.Struct, frozen=True):
    """What all processes hold and wait for."""

    pools: tuple[tuple[str, int, int], ...]
    """Pools, what is held of each, and the claims that wait for it."""
    tenants: tuple[tuple[str, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]], ...]
    """Tenants that have claims, what each holds by pool, and its claims that wait by pool."""
    left_out: int
    """Tenants that are too many."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """From the store."""

    verdict: str
    """`ok`; `stale`: a newer statement was there before; `resync`: state everything; `rules`: state your limits,
    too.
    """
    now: float = 0.0
    """The store's time, milliseconds. It stands still while nothing is heard of any process."""
    granted: tuple[Held, ...] = ()
    wake_after: float = -1.0
    """Milliseconds after which time alone makes room for a claim of any process; -1: never."""
    usage: dict[str, float] = {}
    """Tokens that all processes hold of the pools that this process waits for."""
    kept: dict[str, float] = {}
    """Tokens of these pools that tenants keep and do not use."""
    blocked: dict[str, str] = {}
    """By tenant, the pool that its first claim waits for."""
    members: int = 1
    recovering: float = 0.0
    """Milliseconds until anything is granted, after the store has lost data or may have."""
    generation: int = 0
    source: str = ""
    """Limits in force, as JSON, if they are not those of the statement."""
    owner: str = ""
    """The process that has stated them."""
    report: Report | None = None
    speaks: bool = False
    """Whether this process is to speak for all: one of those that can."""


def path_text(path: Path) -> str:
    return "/".join(quote(part, safe="") for part in path)


def text_path(text: str) -> Path:
    return tuple(unquote(part) for part in text.split("/"))


def pool_text(title: str) -> str:
    return quote(title, safe="")


def pool_title(text: str) -> str:
    return unquote(text)


def lineage_of(path: str) -> list[str]:
    """A tenant's place in the tree, from its project to the leaf that its own claims belong to."""
    names: list[str] = []
    for part in path.split("/"):
        names.append(f"{names[-1]}/{part}" if names else part)
    return [*names, f"{path}/"]


_OF = quote(OF_TENANT, safe="")


def owner_of(title: str) -> tuple[str, str]:
    """The pool of an encoded title, and the tenant whose limit of it this is; "" for the pool itself."""
    pool, _, tenant = title.partition(_OF)
    return pool, tenant.replace("%2F", "/")


def items_text(items: Iterable[tuple[str, int]]) -> str:
    """Of titles and amounts, sorted: what takes the same reads the same."""
    return ",".join(f"{pool_text(title)}={amount}" for title, amount in sorted(items))


def items_of(text: str) -> tuple[tuple[str, int], ...]:
    """Of a text: pools (still encoded) and amounts."""
    return tuple((pool, int(amount)) for part in text.split(",") for pool, amount in (part.split("="),))


def source_of(limits: Limits) -> str:
    """The limits as JSON, in one order."""
    plain = Limits(
        pools=tuple(sorted(limits.pools, key=lambda pool: pool.name)),
        tenants=tuple(sorted(limits.tenants, key=lambda tenant: tenant.name)),
        generation=limits.generation,
        max_bypass=limits.max_bypass,
    )
    return msgspec.json.encode(plain, order="sorted").decode()


def read_limits(source: str) -> Limits:
    """The limits that another process has written as JSON, without what only a newer release knows: releases run beside
    one another while one takes over from the other.
    """
    document = msgspec.json.decode(source, type=dict[str, Any])
    for name, kind in (("pools", Pool), ("tenants", Tenant)):
        document[name] = [_known(one, kind) for one in document.get(name, ())]
    return msgspec.convert(_known(document, Limits), Limits)


def _known(document: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name in kind.__struct_encode_fields__}


def rules_of(limits: Limits, source: str = "") -> Rules:
    """Of limits that were checked. `source` is how another process has written them."""
    source = source or source_of(limits)
    pools: dict[str, tuple[float, float, float, bool]] = {}
    for pool in limits.pools:
        rate = -1.0 if pool.rate is None else float(pool.rate)
        burst = 0.0 if pool.rate is None else float(max(1, math.ceil(pool.rate)) if pool.burst is None else pool.burst)
        pools[pool_text(pool.name)] = (-1.0 if pool.capacity is None else float(pool.capacity), rate, burst, True)
    for tenant in limits.tenants:
        for name, limit in tenant.limits.items():
            pools[pool_text(title_of(name, tenant.name))] = (float(limit), -1.0, 0.0, False)
    weights = {path_text(path_of(tenant.name)): float(tenant.weight) for tenant in limits.tenants}
    kept = {
        pool_text(pool): {path_text(path): amount for path, amount in of_pool.items() if amount}
        for pool, of_pool in kept_of(limits).items()
    }
    return Rules(
        generation=limits.generation,
        digest=hashlib.sha256(source.encode()).hexdigest()[:16],
        source=source,
        pools=pools,
        weights=weights,
        max_bypass=limits.max_bypass,
        kept={pool: of_pool for pool, of_pool in kept.items() if of_pool},
    )
