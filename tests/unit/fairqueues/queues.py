"""FairQueues as the API server has them."""

from __future__ import annotations

from typing import Any

from propeller.fairqueues import FairQueue
from propeller.kube import ObjectMeta


def queue(name: str, spec: Any, *, generation: int = 1, created: int = 0, status: Any = None) -> FairQueue:
    """`created` in minutes."""
    metadata = ObjectMeta(
        name=name,
        uid=f"uid-{name}",
        generation=generation,
        creation_timestamp=f"2026-01-01T00:{created:02}:00Z",
        resource_version="1",
    )
    return FairQueue(metadata=metadata, spec=spec, status=status)


def pools(**capacities: int) -> dict[str, Any]:
    """A spec of pools."""
    return {"pools": [{"name": name, "capacity": capacity} for name, capacity in capacities.items()]}
