"""The queue as text: pools, tenants and claims, each as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from propeller.cli._table import amounts, table

_UNKNOWN = "unknown"


def queue_text(page: Mapping[str, Any]) -> str:
    """Lines for people; `page` is what a controller serves."""
    return "\n".join(_lines(page))


def _lines(page: Mapping[str, Any]) -> Iterator[str]:
    yield from table(
        ("POOL", "HELD", "CAPACITY", "WAITING", "GRANTS"),
        (
            (pool["name"], pool["held"], _or_dash(pool["capacity"]), pool["waiting"], _rate(pool["grantsPerSecond"]))
            for pool in page["pools"]
        ),
    )
    if page["tenants"]:
        yield ""
        yield from table(
            ("TENANT", "WEIGHT", "SHARE", "IDEAL", "HELD", "WAITING"),
            (
                (
                    one["name"],
                    f"{one['weight']:g}",
                    f"{one['share']:.1%}",
                    f"{one['ideal']:.1%}",
                    amounts(one["held"]),
                    amounts(one["waiting"]),
                )
                for one in page["tenants"]
            ),
        )
        if page["tenantsNotShown"]:
            yield f"and {page['tenantsNotShown']} more tenants"
    if page["quotas"]:
        yield ""
        if any(one.get("cluster") for one in page["quotas"]):
            of_clusters = ((one.get("cluster") or "-", one["namespace"], one["waiting"]) for one in page["quotas"])
            yield from table(("CLUSTER", "NAMESPACE", "WAITING FOR QUOTA"), of_clusters)
        else:
            rows = ((one["namespace"], one["waiting"]) for one in page["quotas"])
            yield from table(("NAMESPACE", "WAITING FOR QUOTA"), rows)
    yield ""
    others = max(0, page.get("controllers", 1) - page.get("asked", 1))
    if not page["claims"]:
        where = f" in {others} other controller{'s' if others > 1 else ''}" if others else ""
        yield f"{page['waiting']} wait for tokens{where}" if page["waiting"] else "nobody waits for tokens"
        return
    yield from table(
        ("POOL", "TENANT", "PLACE", "WAITED", "ESTIMATE", "TOKENS", "ATTEMPT"),
        (
            (
                claim["pool"],
                claim["tenant"],
                claim["position"],
                duration(claim["waitedSeconds"]),
                _UNKNOWN if claim["estimateSeconds"] is None else duration(claim["estimateSeconds"]),
                claim["amount"],
                f"{claim['execution'].partition('/')[0]}/{claim['resource']}",
            )
            for claim in page["claims"]
        ),
    )
    if page["notShown"]:
        where = f", here or in {others} other controller{'s' if others > 1 else ''}" if others else ""
        yield f"and {page['notShown']} more that wait{where}: --first 500, --pool, --tenant"


def duration(seconds: float) -> str:
    """As kubectl shows ages: 4s, 3m20s, 5h, 2d3h."""
    left = max(0, round(seconds))
    if left < 120:
        return f"{left}s"
    minutes, second = divmod(left, 60)
    if minutes < 10:
        return f"{minutes}m{second}s"
    hours, minute = divmod(minutes, 60)
    if hours < 3:
        return f"{minutes}m"
    days, hour = divmod(hours, 24)
    return f"{hours}h{minute}m" if hours < 10 else f"{hours}h" if hours < 48 else f"{days}d{hour}h"


def _rate(per_second: float | None) -> str:
    if per_second is None:
        return "-"
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"


def _or_dash(value: object) -> object:
    return "-" if value is None else value
