"""A process that floods shared pools, to be killed. It notes when each of its claims begins and ends.

`python flood.py URL NAME FILE CAPACITY TTL`
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

from propeller.resourcemgr import Claim, Limits, Pool
from propeller.resourcemgr.shared import RedisOptions, RedisStore, SharedTokens

WAITING = 60


def main() -> None:
    url, name, file, capacity, ttl = sys.argv[1:]
    options = RedisOptions(url=url, ttl=float(ttl), timeout=float(ttl) / 3)
    notes = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    asyncio.run(_flood(options, name, notes, int(capacity)))


async def _flood(options: RedisOptions, name: str, notes: int, capacity: int) -> None:
    pools = (Pool(name="all", capacity=capacity), Pool(name="hive", capacity=capacity // 2, parent="all"))
    tokens = SharedTokens(Limits(pools=pools), RedisStore(options, name), options, name)
    rng = random.Random(name)

    def note(what: str, id_: str, pool: str) -> None:
        os.write(notes, f"{time.monotonic()} {what} {name} {id_} {pool}\n".encode())

    async def work(number: int) -> None:
        count = 0
        while True:
            count += 1
            id_, pool, granted = f"{name}/{number}.{count}", rng.choice(["all", "hive"]), asyncio.Event()
            answer = tokens.request(Claim(id_, (f"p{number % 7}",), ((pool, 1),)), granted.set, lambda _: None)
            if not (answer if isinstance(answer, bool) else await answer):
                await granted.wait()
            note("begins", id_, pool)
            tokens.use(id_)
            await asyncio.sleep(rng.uniform(0.001, 0.03))
            note("ends", id_, pool)
            tokens.release(id_)

    async with tokens.running(), asyncio.TaskGroup() as group:
        for number in range(WAITING):
            group.create_task(work(number))


if __name__ == "__main__":
    main()
