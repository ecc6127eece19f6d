"""Ours with many pods: the first list, a burst of updates, and a relist after a 410.

`python -m loadtest._informer_scale KUBECONFIG PODS EVENTS` prints a line of JSON (Phase) when the list is in the store,
one when it has seen so many updates, and one when the store has reached the version that is then written to its input.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import msgspec
import uvloop

from loadtest import _informer_usage as usage
from loadtest._informer_peers import DEADLINE, Counter, shared_informer
from propeller.kube import connect, load_connection


class Phase(msgspec.Struct, frozen=True):
    """Its cost: seconds of CPU; bytes at the peak, and those that stay, beyond those at the very start."""

    cpu: float
    peak: int
    kept: int


class _Phases:
    def __init__(self) -> None:
        usage.settled()
        self._base = usage.resident()
        self._begin()

    def _begin(self) -> None:
        usage.reset_peak()
        self._began = usage.cpu()

    def ended(self) -> None:
        """Print the cost of this phase; the next one has begun by then."""
        took, peak = usage.cpu() - self._began, usage.peak() - self._base
        usage.settled()
        line = msgspec.json.encode(Phase(took, peak, usage.resident() - self._base)).decode()
        self._begin()
        print(line, flush=True)


async def main(kubeconfig: str, pods: int, events: int) -> None:
    updates = Counter(events)
    async with connect(load_connection(kubeconfig)) as client:
        phases = _Phases()
        async with shared_informer(client, updates) as informer:
            await informer.wait_for_sync(DEADLINE)
            assert len(informer.store) == pods
            phases.ended()
            await updates.done.wait()
            phases.ended()
            logging.getLogger("propeller").setLevel(logging.ERROR)  # the cut that comes is on purpose
            version = await asyncio.to_thread(sys.stdin.readline)
            await informer.wait_for_version(version.strip(), DEADLINE)
            assert len(informer.store) == pods
            phases.ended()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
