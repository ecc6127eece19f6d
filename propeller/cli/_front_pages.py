"""What several processes show of their queues, as one page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from propeller.handlers import quotas_page


def merged_queue(pages: Sequence[Mapping[str, Any]], first: int) -> dict[str, Any]:
    """The page of processes that share their pools, or have none; `first` claims of each pool at most.

    What is held and waits each of them counts for all, so the first page's counts are taken. Claims, and what waits for
    quotas, are each process's own: they are put together. So are the pools' rates, at which each sees its own granted.
    `asked` says how many processes there are on it.
    """
    page = dict(pages[0])
    rates: dict[str, float] = {}
    for each in pages:
        for pool in each["pools"]:
            rates[pool["name"]] = rates.get(pool["name"], 0.0) + (pool.get("grantsPerSecond") or 0.0)
    page["pools"] = [pool | {"grantsPerSecond": rates.get(pool["name"]) or None} for pool in page["pools"]]
    page["claims"] = _first([claim for each in pages for claim in each["claims"]], first)
    page["notShown"] = max(0, page["waiting"] - len(page["claims"]))
    page["quotas"] = _quotas(pages)
    page["asked"] = sum(each.get("asked", 1) for each in pages)
    return page


def _first(claims: Sequence[Mapping[str, Any]], first: int) -> list[Mapping[str, Any]]:
    shown: Counter[str] = Counter()
    found = []
    for claim in sorted(claims, key=lambda claim: (claim["pool"], claim["position"], claim["since"])):
        shown[claim["pool"]] += 1
        if shown[claim["pool"]] <= first:
            found.append(claim)
    return found


def _quotas(pages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    waiting: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in pages:
        for row in each["quotas"]:
            waiting[row.get("cluster", "")][row["namespace"]] += row["waiting"]
    return quotas_page(waiting)
