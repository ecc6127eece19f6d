"""Tokens that four processes share in a Redis of their own: acquire and release a second, and what they cost Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadtest._line import Line
from propeller.resourcemgr import Claim, Limits, Pool
from propeller.resourcemgr.shared import RedisOptions, RedisStore, SharedTokens
from propeller.testing import RedisServer, run_redis_server

PROCESSES, PAIRS, AT_ONCE, TENANTS, SLOTS = 4, 5000, 50, 60, 80
TTL = 3.0
"""Seconds. As long a store that is new grants nothing."""


class _Measured(msgspec.Struct):
    """Of one process: seconds in all, exchanges, and seconds of CPU."""

    seconds: float
    exchanges: int
    cpu: float


def measure(scale: float) -> Iterator[Line]:
    pairs = max(500, round(PAIRS * scale))
    for what, slots in (("nobody waits", PROCESSES * AT_ONCE), (f"for {SLOTS} slots", SLOTS)):
        with tempfile.TemporaryDirectory() as directory, run_redis_server(Path(directory)) as server:
            found = _together(server, pairs, slots)
            cpu = float(server.command("INFO", "cpu").split("'used_cpu_user': ")[1].split(",")[0])
        total = PROCESSES * pairs
        each = max(one.seconds for one in found) * 1e6 / total
        yield Line(name=f"acquire and release, four processes, {what}", value=1e6 / each, unit="/s", at_least=5000)
        trips = sum(one.exchanges for one in found) / total
        yield Line(name="  round trips for both", value=trips, unit="", budget=2)
        yield Line(name="  CPU of Redis", value=cpu * 1e6 / total, unit="us")
        yield Line(name="  CPU of the process", value=sum(one.cpu for one in found) * 1e6 / total, unit="us")


def _together(server: RedisServer, pairs: int, slots: int) -> list[_Measured]:
    """Run the processes at the same time."""
    began = time.time() + 3 * TTL
    code = "import sys; from loadtest._redis_tokens import run; run(*sys.argv[1:])"
    words = [server.url, str(pairs), str(slots), str(began)]
    running = [
        subprocess.Popen([sys.executable, "-c", code, f"p{number}", *words], stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    return [msgspec.json.decode(process.communicate()[0], type=_Measured) for process in running]


def run(name: str, url: str, pairs: str, slots: str, begin: str) -> None:
    """One process. Prints what it has measured."""
    found = asyncio.run(_pairs(name, url, int(pairs), int(slots), float(begin)))
    print(msgspec.json.encode(found).decode())


async def _pairs(name: str, url: str, pairs: int, slots: int, begin: float) -> _Measured:
    options = RedisOptions(url=url, ttl=TTL, timeout=TTL / 3)
    store = RedisStore(options, name)
    pools = (
        Pool(name="all", capacity=1000),
        Pool(name="cluster", capacity=500, parent="all"),
        Pool(name="hive", capacity=slots, parent="cluster"),
    )
    tokens = SharedTokens(Limits(pools=pools), store, options, name)

    async def work(first: int) -> None:
        for number in range(first, pairs, AT_ONCE):
            claim = Claim(f"{name}/n{number}-0", (f"project-{number % TENANTS}", "production"), (("hive", 1),))
            await granted(tokens, claim)
            await asyncio.sleep(0)
            tokens.release(claim.id)

    async with tokens.running():
        await asyncio.sleep(begin - time.time())
        began, exchanges, cpu = time.perf_counter(), store.exchanges, time.process_time()
        await asyncio.gather(*map(work, range(AT_ONCE)))
        return _Measured(time.perf_counter() - began, store.exchanges - exchanges, time.process_time() - cpu)


async def granted(tokens: SharedTokens, claim: Claim) -> None:
    """Wait until a claim is granted, and use its tokens."""
    event = asyncio.Event()
    answer = tokens.request(claim, event.set, lambda _: None)
    if not (answer if isinstance(answer, bool) else await answer):
        await event.wait()
    tokens.use(claim.id)
