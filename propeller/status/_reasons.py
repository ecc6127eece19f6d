"""Shorten what a snapshot says of why nodes wait: if all nodes of a large map task do, it is most of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from propeller.text import bounded
from propeller.workflow import BackingOff, Launching, Running, State

SHORT_REASON = 128
"""Characters of the reason why a node waits, in a snapshot that would be over `LIMIT` with the whole ones."""


def without_reasons(states: Mapping[int, State]) -> dict[int, State]:
    """Return the states with short reasons."""
    found: dict[int, State] = {}
    for node, state in states.items():
        if isinstance(state, BackingOff):
            state = msgspec.structs.replace(state, reason=bounded(state.reason, SHORT_REASON))
        if isinstance(state, BackingOff | Launching) and state.refusals.reason:
            refusals = msgspec.structs.replace(state.refusals, reason=bounded(state.refusals.reason, SHORT_REASON))
            state = msgspec.structs.replace(state, refusals=refusals)
        if isinstance(state, Running):
            state = msgspec.structs.replace(state, waits_for=bounded(state.waits_for, SHORT_REASON))
        found[node] = state
    return found
