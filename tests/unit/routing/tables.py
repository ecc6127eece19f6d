"""Tables and subjects in short."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from propeller.routing import (
    Access,
    Cluster,
    Declaration,
    InvalidTable,
    Match,
    Placement,
    Pool,
    Rule,
    States,
    Subject,
    Table,
    Task,
    decide,
)


def cluster(name: str, **options: Any) -> Cluster:
    return Cluster(name=name, connection=Access(context=f"kind-{name}"), **options)


def clusters(*names: str, **options: Any) -> tuple[Cluster, ...]:
    return tuple(cluster(name, **options) for name in names)


def pool(name: str, *members: str, selector: str | None = None) -> Pool:
    return Pool(name=name, clusters=members, selector=selector)


def rule(name: str, pool: str, *, isolate: bool = False, fallbacks: tuple[str, ...] = (), **match: Any) -> Rule:
    """A single text stands for a list of it."""
    given: dict[str, Any] = {
        field: (value,) if isinstance(value, str) and field != "selector" else value for field, value in match.items()
    }
    return Rule(name=name, pool=pool, isolate=isolate, fallbacks=fallbacks, match=Match(**given))


ALL = Pool(name="all", selector="")
ANY = rule("any", "all")


def table(*parts: Cluster | Pool | Rule) -> Table:
    return Table(declared(*parts))


def declared(*parts: Cluster | Pool | Rule) -> Declaration:
    return Declaration(
        clusters=tuple(one for one in parts if isinstance(one, Cluster)),
        pools=tuple(one for one in parts if isinstance(one, Pool)),
        rules=tuple(one for one in parts if isinstance(one, Rule)),
    )


def problems(*parts: Cluster | Pool | Rule) -> list[str]:
    """What is wrong with a table; [] if nothing is."""
    try:
        table(*parts)
    except InvalidTable as error:
        return [str(problem) for problem in error.problems]
    return []


def execution(key: str = "ns/a", **attributes: Any) -> Subject:
    return Subject(key=key, **attributes)


def attempt(key: str = "ns/a", *, gpus: int = 0, task: dict[str, Any] | None = None, **attributes: Any) -> Subject:
    """A task has the labels of its execution if none are given."""
    requests = {"nvidia.com/gpu": Decimal(gpus)} if gpus else {}
    given = {"requests": requests, "labels": attributes.get("labels", {}), **(task or {})}
    return Subject(key=key, task=Task(**given), **attributes)


NO_STATES: States = {}


def placed(table: Table, subject: Subject, states: States = NO_STATES, current: str = "") -> str:
    """The cluster; "" if it waits."""
    found = decide(table, subject, states, current)
    return found.cluster if isinstance(found, Placement) else ""
