"""Durations as Go writes them: 1h30m0s, 1.5s, 20ms."""

from __future__ import annotations

from google.protobuf import duration_pb2

from propeller.compiler._json import MAX_DURATION_SECONDS

SECOND = 1_000_000_000
_INT64 = 2**63


def nanoseconds(duration: duration_pb2.Duration) -> int | None:
    """Return nanoseconds; None if Go's time.Duration cannot hold it: out of range, or parts of opposite signs."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > MAX_DURATION_SECONDS or abs(nanos) >= SECOND or seconds * nanos < 0:
        return None
    total = seconds * SECOND + nanos
    return total if -_INT64 <= total < _INT64 else None


def doubled(nanos: int) -> int:
    """Twice as long; like Go's 64 bits, it wraps."""
    return (2 * nanos + _INT64) % (2 * _INT64) - _INT64


def go_text(nanos: int) -> str:
    sign, rest = ("-", -nanos) if nanos < 0 else ("", nanos)
    if rest == 0:
        return "0s"
    if rest < SECOND:
        unit, name = next((unit, name) for unit, name in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")) if rest >= unit)
        return f"{sign}{_decimal(rest, unit)}{name}"
    minutes, seconds = divmod(rest, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(seconds, SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
