"""Give back the tokens of executions that were handed over, once the process that goes on with them counts them.

Guarantees
    A claim is out in the store from its grant until its attempt is over, whichever process has it: it is given back
    `SETTLED` seconds after the Lease of another process has shown that it runs executions of the shard, and so has
    counted all that runs of it; at the latest after `HELD`.
    If its shard comes back, what is seen or asked for here again stays out.
Caveats
    In between it counts twice, for six to ten seconds: a pool grants less meanwhile, never more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from propeller.clock import Clock
from propeller.handlers import LaunchTokens
from propeller.reconcile import ElectionOptions

HELD = 30.0
"""Seconds, or two durations of a Lease if those are more. Longer than a process takes over a shard after a crash."""

SETTLED = 2.0
"""Seconds. Longer than a process takes to tell the store what it counts: some ms, or a second if the store is slow."""


class _Handed(NamedTuple):
    """Claims that are still out for another process, and since when (seconds of the monotonic clock)."""

    names: tuple[str, ...]
    at: float


class HandedTokens:
    """See the module's text. `tokens`: None if nothing is limited; `leases`: those of the processes."""

    def __init__(self, tokens: LaunchTokens | None, clock: Clock, leases: ElectionOptions) -> None:
        self._tokens = tokens
        self._clock = clock
        self._held = max(HELD, 2.0 * leases.duration)
        self._said_since = 2 * leases.retry
        """Seconds after which others' Leases say nothing that is older than the handover."""
        self._left: dict[int, list[_Handed]] = {}
        """By shard."""

    def hand_over(self, shard: int, uids: Collection[str]) -> None:
        """Another process is to go on with these executions of a shard."""
        if self._tokens is None or not (names := self._tokens.hand_over(uids)):
            return
        handed = _Handed(names, self._clock.monotonic())
        self._left.setdefault(shard, []).append(handed)
        asyncio.get_running_loop().call_later(self._held, self._give_back, shard, handed)

    def met(self, loads: Mapping[int, float]) -> None:
        """Others run so many executions of these shards, as their Leases say."""
        before = self._clock.monotonic() - self._said_since
        for shard in [shard for shard in self._left if loads.get(shard)]:
            for handed in self._left[shard]:
                if handed.at <= before:
                    asyncio.get_running_loop().call_later(SETTLED, self._give_back, shard, handed)

    def _give_back(self, shard: int, handed: _Handed) -> None:
        left = self._left.get(shard, [])
        if self._tokens is None or handed not in left:
            return
        left.remove(handed)
        if not left:
            del self._left[shard]
        self._tokens.give_back(handed.names)
