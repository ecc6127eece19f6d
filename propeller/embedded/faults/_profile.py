"""How likely each fault is."""

from __future__ import annotations

import random

import msgspec


class FaultProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities per request, watch chunk or blob operation; times in seconds. The default has no faults."""

    latency: float = 0.0
    """Mean time of a request, exponentially distributed, half of it before the effect."""

    lost_requests: float = 0.0
    """The connection breaks before the request arrives."""

    lost_responses: float = 0.0
    """The connection breaks after the effect."""

    refusals: float = 0.0
    """The server responds with 429, 500 or 504 (equally often before and after the effect), or refuses a write with
    409.
    """

    hangs: float = 0.0
    """The response arrives after the client's deadline, or never."""

    disconnects: float = 0.0
    """A watch breaks at its next chunk."""

    black_holes: float = 0.0
    """A watch goes half-open at its next chunk: no more chunks arrive, and no end."""

    lag: float = 0.0
    """Mean delay of a watch's chunks."""

    blob_errors: float = 0.0
    """A read or write of a blob fails, before or after its effect."""

    blob_latency: float = 0.0
    """Mean time of a blob operation."""

    def pause(self, rng: random.Random, mean: float) -> float:
        """Draw a time, exponentially distributed with this mean."""
        return rng.expovariate(1 / mean) if mean else 0.0


NO_FAULTS = FaultProfile()
