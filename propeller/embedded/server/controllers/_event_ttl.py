"""Events go after an hour, as kube-apiserver's --event-ttl has it: nothing else would ever delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from propeller.clock import parse_rfc3339
from propeller.embedded.server._storage import Collection, Record, Storage

_ROUNDS = 60
"""Looks per lifetime: an event stays at most a sixtieth longer."""

_BATCH = 500


async def expire(storage: Storage, collection: Collection, seconds: float, now: Callable[[], float]) -> None:
    """Delete objects that are older than `seconds`, until cancelled. `now` gives epoch seconds."""
    while True:
        await asyncio.sleep(seconds / _ROUNDS)
        oldest = now() - seconds
        for count, record in enumerate(list(collection.records.values()), 1):
            if collection.records.get(record.key) is record and _last_seen(record) < oldest:
                storage.delete(collection, record)
            if count % _BATCH == 0:
                await asyncio.sleep(0)


def _last_seen(record: Record) -> float:
    """When an event last happened, as far as it says so; every write of it gives it another hour."""
    event = record.parsed()
    return max(
        parse_rfc3339(text)
        for text in (
            event["metadata"]["creationTimestamp"],
            event.get("lastTimestamp"),
            (event.get("series") or {}).get("lastObservedTime"),
        )
        if text
    )
