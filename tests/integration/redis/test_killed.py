"""Processes that are killed in the middle of a flood: no pool is exceeded, and all that the dead had comes back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propeller.resourcemgr import Claim, Limits, Pool
from propeller.testing import RedisServer, eventually
from tests.integration.redis.stores import options_of, prime, shared

pytestmark = pytest.mark.needs("redis-server")

CAPACITY, TTL, KILLS = 12, 3.0, 20
FLOOD = Path(__file__).with_name("flood.py")


class _Flood:
    """Three processes; one of them is killed now and then, and another one started in its place."""

    def __init__(self, url: str, notes: Path) -> None:
        self._url = url
        self.notes = notes
        self.killed: dict[str, float] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._count = 0

    def start(self) -> None:
        self._count += 1
        name = f"p{self._count}"
        words = [self._url, name, str(self.notes), str(CAPACITY), str(TTL)]
        self._running[name] = subprocess.Popen([sys.executable, str(FLOOD), *words])

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()
        self.killed[name] = time.monotonic()

    async def goes_on(self) -> None:
        """Wait until some claims have got their tokens."""
        before = self._noted()
        await eventually(lambda: self._noted() > before + 500)

    def _noted(self) -> int:
        return self.notes.stat().st_size if self.notes.exists() else 0

    @property
    def oldest(self) -> str:
        return next(iter(self._running))

    def kill_all(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def most_at_once(self) -> dict[str, int]:
        """The most claims that ran at once, by pool; what ran in a process has ended with it."""
        steps: list[tuple[float, int, str]] = []
        open_: dict[str, tuple[str, str]] = {}
        for line in self.notes.read_text().splitlines():
            at, what, name, claim, pool = line.split()
            pools = ("all", "hive") if pool == "hive" else ("all",)
            if what == "begins":
                open_[claim] = name, pool
            else:
                del open_[claim]
            steps += [(float(at), 1 if what == "begins" else -1, one) for one in pools]
        for name, pool in open_.values():
            steps += [(self.killed[name], -1, one) for one in (("all", "hive") if pool == "hive" else ("all",))]
        held, most = dict.fromkeys(("all", "hive"), 0), dict.fromkeys(("all", "hive"), 0)
        for _, by, pool in sorted(steps):
            held[pool] += by
            most[pool] = max(most[pool], held[pool])
        return most


async def test_processes_that_are_killed_in_a_flood_exceed_no_pool_and_leak_nothing(
    redis: RedisServer, tmp_path: Path
) -> None:
    options = options_of(redis, ttl=TTL, timeout=1.0)
    await prime(options)
    flood = _Flood(redis.url, tmp_path / "notes")
    try:
        for _ in range(3):
            flood.start()
        for kill in range(KILLS):
            await flood.goes_on()
            await asyncio.sleep(0.05 * (kill % 4))
            flood.kill(flood.oldest)
            flood.start()
    finally:
        flood.kill_all()
    most = flood.most_at_once()
    assert most["all"] <= CAPACITY
    assert most["hive"] <= CAPACITY // 2
    assert most["all"] > CAPACITY // 2, "the flood was one"
    pools = (Pool(name="all", capacity=CAPACITY), Pool(name="hive", capacity=CAPACITY // 2, parent="all"))
    async with shared(options, Limits(pools=pools), "last") as tokens:
        granted = [asyncio.Event() for _ in range(CAPACITY)]
        for number, event in enumerate(granted):
            answer = tokens.request(Claim(f"c{number}", ("a",), (("all", 1),)), event.set, lambda _: None)
            if answer is True or (answer is not False and await answer):
                event.set()
        await eventually(lambda: all(event.is_set() for event in granted))
