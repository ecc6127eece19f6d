"""How likely which fault is."""

from __future__ import annotations

import random

import msgspec


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities for each request, stream or blob; times in seconds. The default is fair weather."""

    latency: float = 0.0
    """Mean time of a request, exponentially distributed, half of it before the effect."""

    lost_requests: float = 0.0
    """The connection breaks before the request arrives."""

    lost_answers: float = 0.0
    """It breaks after the effect."""

    refusals: float = 0.0
    """The server answers 429, 500 or 504 (after the effect as often as before it), or a write with 409, in the place of
    doing it.
    """

    stalls: float = 0.0
    """An answer comes after the client's deadline, or never."""

    cuts: float = 0.0
    """A watch breaks at its next chunk."""

    silences: float = 0.0
    """A watch goes half-open at its next chunk: nothing comes any more, and no end."""

    lag: float = 0.0
    """Mean time by which chunks of a watch are late."""

    blob_errors: float = 0.0
    """A read or write of a blob fails, before or after its effect."""

    blob_latency: float = 0.0

    def pause(self, rng: random.Random, mean: float) -> float:
        """A time drawn around `mean`."""
        return rng.expovariate(1 / mean) if mean else 0.0


FAIR = Weather()
