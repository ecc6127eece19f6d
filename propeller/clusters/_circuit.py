"""Whether a cluster is well, from what is seen of it: a circuit that opens after bad signs and closes after good ones.

Guarantees
    Pure. It opens only after `unhealthy_after` seconds without a good sign, and closes only after `healthy_after`
    seconds without a bad one, so that a cluster that comes and goes changes its state rarely.
"""

from __future__ import annotations

import msgspec

from propeller.clusters._options import ClusterOptions
from propeller.text import bounded, one_line

MIN_SAMPLE = 10
"""Requests, or pods, of which a share says anything."""

REASON_CHARACTERS = 300


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a cluster since the last one."""

    seconds: float = 0.0
    """How long the answer to a probe took."""
    error: str = ""
    """Why there was none, "" if there was one."""
    requests: int = 0
    failures: int = 0
    """Of those requests, without a useful answer: none at all, 5xx, 401."""
    pending: int = 0
    """Pods that wait for a node."""
    stuck: int = 0
    """Of those, for longer than `start_deadline`."""


class Circuit(msgspec.Struct, frozen=True):
    """`reason` says why it is open, "" while it is closed. Times are those of the monotonic clock, in seconds."""

    healthy: bool = True
    reason: str = ""
    since: float = 0.0
    """When it was opened or closed."""
    good_since: float | None = None
    bad_since: float | None = None
    """Since when there have been nothing but good, or bad, signs."""


def advance(circuit: Circuit, reading: Reading, now: float, options: ClusterOptions) -> Circuit:
    """Return the circuit after another reading."""
    sign = bad_sign(reading, options)
    if sign:
        bad_since = now if circuit.bad_since is None else circuit.bad_since
        if circuit.healthy and now - bad_since >= options.unhealthy_after:
            return Circuit(False, sign, now, None, bad_since)
        reason = circuit.reason if circuit.healthy else sign
        return msgspec.structs.replace(circuit, reason=reason, good_since=None, bad_since=bad_since)
    good_since = now if circuit.good_since is None else circuit.good_since
    if not circuit.healthy and now - good_since >= options.healthy_after:
        return Circuit(True, "", now, good_since, None)
    return msgspec.structs.replace(circuit, good_since=good_since, bad_since=None)


def bad_sign(reading: Reading, options: ClusterOptions) -> str:
    """Say what is wrong, "" if nothing is."""
    if reading.error:
        return one_line(bounded(reading.error, REASON_CHARACTERS))
    if reading.seconds > options.slow:
        return f"its API server answers after {reading.seconds:.1f} s"
    if reading.requests >= MIN_SAMPLE and reading.failures >= reading.requests * options.error_share:
        return f"{reading.failures} of {reading.requests} requests failed"
    if options.start_deadline and reading.stuck >= MIN_SAMPLE and 2 * reading.stuck >= reading.pending:
        return f"{reading.stuck} pods have waited for a node for over {options.start_deadline:g} s"
    return ""
