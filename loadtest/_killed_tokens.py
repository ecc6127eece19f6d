"""Processes that share tokens in Redis and get SIGKILL in the middle of a flood: ours, and those of FlytePropeller's
resource manager.

Both run the same: four processes of 64 workers each take a token of 80, have it for 50 ms and give it back; at moments
drawn from a seed one of them is killed, and another one takes its place. In the end all are killed, and a new process
tries to get every token. What a worker holds is what it has noted in a file, not what Redis says.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtest._go_peers import Missing, built
from loadtest._line import Line
from loadtest._redis_tokens import granted
from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Limits, Pool
from propeller.resourcemgr.shared import RedisOptions, RedisStore, SharedTokens
from propeller.testing import RedisServer, eventually, run_redis_server

PROCESSES, WORKERS, SLOTS, SECONDS = 4, 64, 80, 0.05
KILLS = 20
TTL = 15.0
"""Seconds: processes that are not behind Leases may have less than the default."""

DEADLINE = 60.0
"""Seconds in which a new process has to get all tokens: four times the TTL of ours."""


class _Side(msgspec.Struct, frozen=True):
    """`flood` and `take` give command lines for a Redis, `flood` without a name and a file for notes; `left` counts the
    tokens that are in Redis.
    """

    name: str
    flood: Callable[[str], list[str]]
    take: Callable[[str], list[str]]
    left: Callable[[str], int]


class _Found(msgspec.Struct, frozen=True):
    """`most` workers held a token at once, `tasks` had one in all; `idle` is the longest time in which none got one.
    `left` tokens were in Redis when all processes were dead; a new one got so many of all within `seconds`.
    """

    most: int
    tasks: int
    idle: float
    left: int
    got: int
    seconds: float


def measure(scale: float) -> Iterator[Line]:
    """Raises Invalid if FlytePropeller's cannot be built."""
    try:
        theirs = str(built("flytepropeller", "tokens"))
    except Missing as error:
        raise Invalid(str(error)) from error
    sides = (
        _Side("ours", lambda url: [*_of("flood"), url], lambda url: [*_of("take"), url], _held_by_ours),
        _Side(
            "FlytePropeller's",
            lambda url: [theirs, "flood", urlsplit(url).netloc, str(SLOTS), str(WORKERS), str(SECONDS)],
            lambda url: [theirs, "take", urlsplit(url).netloc, str(SLOTS), str(DEADLINE)],
            _held_by_theirs,
        ),
    )
    kills = max(1, round(KILLS * scale))
    for side in sides:
        with tempfile.TemporaryDirectory() as directory, run_redis_server(Path(directory)) as server:
            found = _run(side, server, Path(directory) / "notes", kills)
        is_ours = side.name == "ours"
        yield Line(
            name=f"{side.name}: most tokens held at once, of {SLOTS}",
            value=found.most,
            unit="",
            budget=SLOTS if is_ours else None,
        )
        yield Line(name=f"  tasks that had one, while {kills} processes were killed", value=found.tasks, unit="")
        yield Line(name="  longest time without a grant, seconds", value=found.idle, unit="s")
        yield Line(name="  tokens left in Redis when all processes are dead", value=found.left, unit="")
        yield Line(
            name=f"  of {SLOTS}, that a new process gets within {DEADLINE:g} s",
            value=found.got,
            unit="",
            at_least=SLOTS if is_ours else None,
        )
        if found.got == SLOTS:
            yield Line(name="    after", value=found.seconds, unit="s")


def _of(function: str) -> list[str]:
    code = f"import sys; from loadtest._killed_tokens import {function}; {function}(*sys.argv[1:])"
    return [sys.executable, "-c", code]


def _run(side: _Side, server: RedisServer, notes: Path, kills: int) -> _Found:
    draw = random.Random(1)
    running: dict[str, subprocess.Popen[bytes]] = {}
    killed: dict[str, int] = {}

    def start() -> None:
        name = f"p{len(running) + len(killed)}"
        words = [*side.flood(server.url), name, str(notes)]
        # FlytePropeller's logs a line for each refusal: thousands a second
        running[name] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(name: str) -> None:
        process = running.pop(name)
        process.kill()
        process.wait()
        killed[name] = time.time_ns()

    try:
        for _ in range(PROCESSES):
            start()
        asyncio.run(eventually(lambda: notes.exists() and notes.stat().st_size > 0, deadline=DEADLINE))
        time.sleep(3.0)
        for _ in range(kills):
            kill(draw.choice(list(running)))
            start()
            time.sleep(draw.uniform(0.5, 1.5))
    finally:
        for name in list(running):
            kill(name)
    left = side.left(server.url)
    taken = subprocess.run(
        side.take(server.url), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    got, seconds = taken.stdout.split()
    return _Found(*_read(notes, killed), left, int(got), float(seconds))


def _read(notes: Path, killed: dict[str, int]) -> tuple[int, int, float]:
    """The most tokens that were held at once, how many were, and the longest time between two grants."""
    steps: list[tuple[int, int]] = []
    open_: dict[str, str] = {}
    for line in notes.read_text().splitlines():
        at, what, process, token = line.split()
        steps.append((int(at), 1 if what == "begins" else -1))
        if what == "begins":
            open_[token] = process
        else:
            del open_[token]
    grants = sorted(at for at, by in steps if by > 0)
    steps += ((killed[process], -1) for process in open_.values())
    held = most = 0
    for _, by in sorted(steps):
        held += by
        most = max(most, held)
    return most, len(grants), max(after - before for before, after in pairwise(grants)) / 1e9


# in processes of their own


def flood(url: str, name: str, notes: str) -> None:
    """Take tokens and give them back until the process is killed; note when each begins and ends."""
    asyncio.run(_flood(url, name, os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)))


async def _flood(url: str, name: str, notes: int) -> None:
    def note(what: str, token: str) -> None:
        os.write(notes, f"{time.time_ns()} {what} {name} {token}\n".encode())

    async def work(tokens: SharedTokens, worker: int) -> None:
        count = 0
        while True:
            count += 1
            token = f"{name}-{worker}-{count}"
            await _granted(tokens, token)
            note("begins", token)
            await asyncio.sleep(SECONDS)
            note("ends", token)
            tokens.release(token)

    tokens = _tokens(url, name)
    async with tokens.running(), asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            group.create_task(work(tokens, worker))


def take(url: str) -> None:
    """Try to get all tokens. Prints how many, and after how many seconds."""
    asyncio.run(_take(url))


async def _take(url: str) -> None:
    began = time.perf_counter()
    tokens = _tokens(url, "last")
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        await _granted(tokens, f"last-{number}")
        count += 1

    async with tokens.running():
        await asyncio.wait([asyncio.ensure_future(one(number)) for number in range(SLOTS)], timeout=DEADLINE)
    print(count, time.perf_counter() - began)


def _tokens(url: str, name: str) -> SharedTokens:
    options = RedisOptions(url=url, ttl=TTL)
    return SharedTokens(Limits(pools=(Pool(name="hive", capacity=SLOTS),)), RedisStore(options, name), options, name)


async def _granted(tokens: SharedTokens, token: str) -> None:
    await granted(tokens, Claim(token, ("project", "production"), (("hive", 1),)))


def _held_by_ours(url: str) -> int:
    from redis import Redis

    with Redis.from_url(url) as client:
        row = client.hget("propeller:{tokens}:pools", "hive")
    held: float = msgspec.msgpack.decode(row)[0] if isinstance(row, bytes) else 0
    return round(held)


def _held_by_theirs(url: str) -> int:
    from redis import Redis

    with Redis.from_url(url) as client:
        count: int = client.scard("redisresourcemanager:hive")
    return count
