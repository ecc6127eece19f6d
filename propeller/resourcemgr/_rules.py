"""From a task to its claim: rules of the operator, and what the task's author has written.

Guarantees
    Pure. What an author writes is a stranger's: it is bounded, and can name no pool that the limits do not have.
Errors
    Invalid for text that is no list of pools, and for a rule that names a pool which is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from propeller.errors import Invalid
from propeller.resourcemgr._claims import MAX_POOLS_OF_A_CLAIM
from propeller.resourcemgr._limits import MAX_TOKENS, POOL_NAME, check
from propeller.resourcemgr._options import ResourceOptions, Rule

MAX_TEXT = 4096
"""Characters of an author's list of pools."""

_UNITS: Mapping[str, Decimal] = {
    "cpu": Decimal("0.001"),
    "memory": Decimal(1 << 20),
    "ephemeral-storage": Decimal(1 << 20),
}
_WANTED = re.compile(rf"({POOL_NAME})(?:=([0-9]{{1,16}}))?")

Needs = tuple[tuple[str, int], ...]


class Demand(msgspec.Struct, frozen=True):
    """What rules can ask about a task: `requests` are those of its containers together, as Kubernetes' quantities;
    `wanted` is the author's own list (`hive-primary=2, api`).
    """

    project: str = ""
    domain: str = ""
    task_type: str = ""
    labels: Mapping[str, str] = {}
    requests: Mapping[str, Decimal] = {}
    wanted: str = ""


def needs_of(demand: Demand, rules: Iterable[Rule]) -> Needs:
    """Tokens of each pool that an attempt takes, sorted by pool. Raises Invalid for a wanted list that is none."""
    needs: dict[str, int] = {}
    for rule in rules:
        if _matches(rule, demand):
            needs |= rule.pools
            needs |= {pool: _tokens(demand.requests.get(name), name) for pool, name in rule.resources.items()}
    needs |= dict(wanted_pools(demand.wanted))
    return tuple(sorted((pool, amount) for pool, amount in needs.items() if amount))


def wanted_pools(text: str) -> Needs:
    """The pools of an author's list: names with `=` and a number of tokens, 1 by default, separated by commas."""
    if not text.strip():
        return ()
    if len(text) > MAX_TEXT:
        raise Invalid(f"propeller/pools has {len(text)} characters, more than {MAX_TEXT}")
    found: dict[str, int] = {}
    for part in text.split(","):
        matched = _WANTED.fullmatch(part.strip())
        amount = 0 if matched is None else int(matched[2] or 1)
        if matched is None or not 1 <= amount <= MAX_TOKENS:
            raise Invalid(
                f"propeller/pools: {part.strip()[:100]!r} is no pool with a number: write hive-primary=2, api"
            )
        if matched[1] in found:
            raise Invalid(f"propeller/pools names {matched[1]!r} twice: write it once")
        found[matched[1]] = amount
    if len(found) > MAX_POOLS_OF_A_CLAIM:
        raise Invalid(f"propeller/pools names {len(found)} pools, more than {MAX_POOLS_OF_A_CLAIM}")
    return tuple(found.items())


def text_of(needs: Needs) -> str:
    """The list that `wanted_pools` reads."""
    return ",".join(f"{pool}={amount}" for pool, amount in needs)


def check_options(options: ResourceOptions) -> None:
    """Raise Invalid for limits that contradict themselves, and rules that can mean nothing."""
    check(options)
    if not options.status_interval >= 0.1:
        raise Invalid(f"status_interval is {options.status_interval}: it has to be at least 0.1")
    known = {pool.name for pool in options.pools}
    for number, rule in enumerate(options.rules):
        for pool in (*rule.pools, *rule.resources):
            if pool not in known:
                raise Invalid(f"rules[{number}] takes tokens of {pool!r}, which is no pool")
        for pool, amount in rule.pools.items():
            if not 0 <= amount <= MAX_TOKENS:
                raise Invalid(f"rules[{number}] takes {amount} tokens of {pool!r}: it has to be 0 to {MAX_TOKENS}")


def _matches(rule: Rule, demand: Demand) -> bool:
    return (
        rule.project in ("", demand.project)
        and rule.domain in ("", demand.domain)
        and rule.task_type in ("", demand.task_type)
        and all(demand.labels.get(key) == value for key, value in rule.labels.items())
    )


def _tokens(requested: Decimal | None, name: str) -> int:
    return math.ceil((requested or Decimal(0)) / _UNITS.get(name, Decimal(1)))
