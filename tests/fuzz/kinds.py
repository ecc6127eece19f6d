"""What can be damaged, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tests.fuzz.campaign import (
    Campaign,
    Outcome,
    Told,
    fuzz_annotations,
    fuzz_blobs,
    fuzz_resources,
    fuzz_statuses,
)

KINDS: Mapping[str, Callable[[Campaign, int, Told], Awaitable[Outcome]]] = {
    "resources": fuzz_resources,
    "statuses": fuzz_statuses,
    "annotations": fuzz_annotations,
    "blobs": fuzz_blobs,
}
