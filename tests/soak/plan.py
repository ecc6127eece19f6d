"""What is done to a server and to the ways to it: drawn from a seed, before anything happens.

Guarantees
    The same seed and number give the same round, whatever ran before.
    Every kind of fault comes once before any comes a third time.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

ROUTES = 3
"""Ways that lead from the informers to the server: what befalls one need not befall the others."""

PROGRESS_DEADLINE = 2.0
"""Seconds after which the informers of a soak take a silent stream for dead. Stalls are shorter and longer than it."""

_FAULTS_A_ROUND = (1, 4)
_SECONDS_A_ROUND = (3.0, 8.0)


class Kind(enum.StrEnum):
    """Kinds of faults."""

    CUT = "cut"
    """Connections are reset; new ones are welcome."""

    OUTAGE = "outage"
    """Connections are reset, and new ones are refused for a time."""

    HALF_OPEN = "half-open"
    """Nothing passes any more on connections of now, and nobody is told."""

    STALL = "stall"
    """Nothing passes for a time; then all of it, late."""

    SLOW = "slow way"
    """Few bytes a second for a time."""

    PAUSE = "pause"
    """The event loop stands still: a collection of garbage, a machine that was suspended."""

    COMPACTION = "compaction"
    """The store forgets old versions: pages under way can't go on."""

    CRASH = "crash"
    """The server is killed and comes back, with nothing in its memory."""

    FORGOTTEN = "forgotten"
    """While the informers are away, objects change, and the server forgets how: they are told 410."""


@dataclass(frozen=True)
class Fault:
    """One of them, `at` seconds after a round's begin, for `seconds` where it lasts, on those `routes`."""

    kind: Kind
    at: float
    seconds: float
    routes: tuple[int, ...]
    bytes_per_second: int

    def __str__(self) -> str:
        lasts = f" {self.seconds:.1f} s" if self.kind in _LASTING else ""
        where = f" on {len(self.routes)}/{ROUTES}" if self.kind in _ON_ROUTES else ""
        return f"{self.kind}{lasts}{where}"


_ON_ROUTES = {Kind.CUT, Kind.OUTAGE, Kind.HALF_OPEN, Kind.STALL, Kind.SLOW}
_LASTING = {Kind.OUTAGE, Kind.STALL, Kind.SLOW, Kind.PAUSE, Kind.FORGOTTEN}


@dataclass(frozen=True)
class Round:
    """What happens between two quiet points."""

    number: int
    seconds: float
    faults: tuple[Fault, ...]
    writers: tuple[str, ...]
    """A seed for each."""

    writes_per_second: float
    """Of each writer, bursts apart."""

    newcomer_at: float
    """When one more informer starts, and lists in the midst of it all; seconds."""


def draw(seed: int, number: int) -> Round:
    """The round of that number, from 0."""
    rng = random.Random(f"soak {seed} round {number}")
    seconds = rng.uniform(*_SECONDS_A_ROUND)
    kinds = _kinds(seed, number)
    return Round(
        number=number,
        seconds=seconds,
        faults=tuple(sorted((_fault(rng, kind, seconds) for kind in kinds), key=lambda fault: fault.at)),
        writers=tuple(f"soak {seed} round {number} writer {writer}" for writer in range(rng.randint(2, 5))),
        writes_per_second=rng.choice((5.0, 15.0, 30.0)),
        newcomer_at=rng.uniform(0.0, seconds),
    )


def _kinds(seed: int, number: int) -> list[Kind]:
    """A round's kinds: the next of a pile that is shuffled anew when it has run out."""
    piles = 0
    pile: list[Kind] = []
    found: list[Kind] = []
    rng = random.Random(f"soak {seed} faults")
    for _ in range(number + 1):
        found = []
        for _ in range(rng.randint(*_FAULTS_A_ROUND)):
            if not pile:
                pile = list(Kind)
                random.Random(f"soak {seed} pile {piles}").shuffle(pile)
                piles += 1
            found.append(pile.pop())
    return found


def _fault(rng: random.Random, kind: Kind, round_seconds: float) -> Fault:
    return Fault(
        kind=kind,
        at=rng.uniform(0.0, round_seconds),
        seconds=rng.uniform(0.1, 1.8) * PROGRESS_DEADLINE,
        routes=tuple(sorted(rng.sample(range(ROUTES), rng.choice((1, 2, ROUTES, ROUTES))))),
        bytes_per_second=rng.choice((5_000, 50_000, 500_000)),
    )
