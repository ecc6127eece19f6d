"""Jobs are looked at in turn: rarely if they run for long, a bounded number at once, and none after its end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable

from propeller.clock import LoopClock
from propeller.connectors import ConnectorOptions, Poller
from propeller.testing import run_virtually

Look = Callable[[str], Awaitable[bool]]


def poll(look: Look, act: Callable[[Poller[str]], Awaitable[None]], **options: float | int) -> None:
    """Run a poller while `act` runs. A job's name begins with its service, a letter, and may end with /tenant."""

    async def run() -> None:
        poller = Poller(
            ConnectorOptions(**options),  # type: ignore[arg-type]
            look,
            service=lambda job: job[0],
            tenant=lambda job: job.partition("/")[2],
            clock=LoopClock(),
        )
        running = asyncio.create_task(poller.run())
        try:
            await act(poller)
        finally:
            running.cancel()
            await asyncio.wait([running])

    run_virtually(run())


def test_a_job_is_looked_at_ever_more_rarely() -> None:
    times: list[float] = []

    async def look(_: str) -> bool:
        times.append(asyncio.get_running_loop().time())
        return True

    async def act(poller: Poller[str]) -> None:
        poller.follow("a")
        await asyncio.sleep(3600)

    poll(look, act, poll_shortest=1.0, poll_longest=30.0, poll_share=0.1)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] <= 1.2
    assert all(0.75 <= pause <= 1.5 for pause in pauses[:4])
    assert all(22 <= pause <= 38 for pause in pauses[-20:])


def test_a_job_of_some_age_is_looked_at_rarely_from_the_start() -> None:
    looks: Counter[str] = Counter()

    async def look(job: str) -> bool:
        looks[job] += 1
        return True

    async def act(poller: Poller[str]) -> None:
        poller.follow("a", age=7200.0)
        await asyncio.sleep(300)

    poll(look, act)
    assert 8 <= looks["a"] <= 14


def test_looks_that_fail_are_followed_by_longer_pauses() -> None:
    times: list[float] = []

    async def look(_: str) -> bool:
        times.append(asyncio.get_running_loop().time())
        return False

    async def act(poller: Poller[str]) -> None:
        poller.follow("a")
        await asyncio.sleep(60)

    poll(look, act, poll_share=0.0)
    assert len(times) <= 8


def test_a_look_that_raises_ends_nothing() -> None:
    looks: Counter[str] = Counter()

    async def look(job: str) -> bool:
        looks[job] += 1
        if job == "a":
            raise RuntimeError("a defect")
        return True

    async def act(poller: Poller[str]) -> None:
        poller.follow("a")
        poller.follow("b")
        await asyncio.sleep(30)

    poll(look, act)
    assert looks["a"] >= 3
    assert looks["b"] >= 3


def test_a_service_that_hangs_delays_no_other() -> None:
    at_once: Counter[str] = Counter()
    most: Counter[str] = Counter()
    looks: Counter[str] = Counter()

    async def look(job: str) -> bool:
        at_once[job[0]] += 1
        most[job[0]] = max(most[job[0]], at_once[job[0]])
        looks[job[0]] += 1
        await asyncio.sleep(10.0 if job[0] == "h" else 0.01)
        at_once[job[0]] -= 1
        return job[0] != "h"

    async def act(poller: Poller[str]) -> None:
        for number in range(100):
            poller.follow(f"h{number}")
            poller.follow(f"f{number}")
        await asyncio.sleep(60)

    poll(look, act, polls_at_once=4)
    assert most["h"] == most["f"] == 4
    assert looks["h"] <= 28
    assert looks["f"] >= 1000


def test_a_job_that_is_over_is_not_looked_at() -> None:
    looks: Counter[str] = Counter()

    async def look(job: str) -> bool:
        looks[job] += 1
        return True

    async def act(poller: Poller[str]) -> None:
        for job in ("a", "b", "c"):
            poller.follow(job)
        await asyncio.sleep(5)
        poller.forget("a")
        poller.forget_if(lambda job: job == "b")
        assert len(poller) == 1
        assert "c" in poller
        looks.clear()
        await asyncio.sleep(60)

    poll(look, act)
    assert set(looks) == {"c"}


def test_one_that_is_followed_again_is_looked_at_soon() -> None:
    times: list[float] = []

    async def look(_: str) -> bool:
        times.append(asyncio.get_running_loop().time())
        return True

    async def act(poller: Poller[str]) -> None:
        poller.follow("a", age=7200.0)
        await asyncio.sleep(5)
        before = len(times)
        poller.follow("a")
        await asyncio.sleep(1.5)
        assert len(times) == before + 1

    poll(look, act)


def test_many_jobs_wake_the_loop_once_for_a_batch() -> None:
    slots: Counter[float] = Counter()

    async def look(_: str) -> bool:
        slots[asyncio.get_running_loop().time()] += 1
        return True

    async def act(poller: Poller[str]) -> None:
        for number in range(1000):
            poller.follow(f"a{number}", age=7200.0)
        await asyncio.sleep(300)

    poll(look, act, polls_at_once=1000)
    assert sum(slots.values()) >= 9000
    assert len(slots) <= 300 / 0.1 + 10


def counted(times: dict[str, list[float]], took: float = 0.01) -> Look:
    """A look that notes when it was made."""

    async def look(job: str) -> bool:
        times.setdefault(job, []).append(asyncio.get_running_loop().time())
        await asyncio.sleep(took)
        return True

    return look


def longest(times: dict[str, list[float]], job: str) -> float:
    return max(after - before for before, after in itertools.pairwise(times[job]))


def test_jobs_that_begin_together_share_the_looks_of_a_second() -> None:
    times: dict[str, list[float]] = {}

    async def act(poller: Poller[str]) -> None:
        for number in range(1000):
            poller.follow(f"a{number}")
        await asyncio.sleep(30)

    poll(counted(times), act, polls_per_second=100.0)
    looks = sorted(itertools.chain.from_iterable(times.values()))
    assert len(times) == 1000
    assert len(looks) >= 30 * 100 * 0.95
    assert all(later - earlier >= 0.9 for earlier, later in zip(looks, looks[200:], strict=False))
    assert max(longest(times, job) for job in times if len(times[job]) > 1) <= 10 + 1.25 * 3 + 0.5


def test_tenants_take_turns_for_looks() -> None:
    times: dict[str, list[float]] = {}

    async def act(poller: Poller[str]) -> None:
        for number in range(2000):
            poller.follow(f"a{number}/x")
        for number in range(5):
            poller.follow(f"a{number}/y")
        await asyncio.sleep(60)

    poll(counted(times), act, polls_per_second=50.0, poll_share=0.0)
    assert all(longest(times, f"a{number}/y") <= 1.25 + 0.5 for number in range(5))
    assert min(len(times[f"a{number}/x"]) for number in range(2000)) >= 1


def test_looks_at_one_service_take_none_from_another() -> None:
    times: dict[str, list[float]] = {}

    async def act(poller: Poller[str]) -> None:
        for number in range(1000):
            poller.follow(f"a{number}")
        poller.follow("b")
        await asyncio.sleep(20)

    poll(counted(times), act, polls_per_second=20.0, poll_share=0.0)
    assert longest(times, "b") <= 1.25 + 0.5


def test_a_look_now_and_then_is_a_rate_too() -> None:
    times: dict[str, list[float]] = {}

    async def act(poller: Poller[str]) -> None:
        for number in range(5):
            poller.follow(f"a{number}")
        await asyncio.sleep(100)

    poll(counted(times), act, polls_per_second=0.1)
    assert sum(map(len, times.values())) in range(9, 12)
    assert len(times) == 5


def test_jobs_that_are_over_while_they_wait_cost_no_look() -> None:
    times: dict[str, list[float]] = {}

    async def act(poller: Poller[str]) -> None:
        for number in range(1000):
            poller.follow(f"a{number}")
        await asyncio.sleep(2)
        for number in range(999):
            poller.forget(f"a{number}")
        await asyncio.sleep(10)

    poll(counted(times), act, polls_per_second=10.0)
    assert [second - first for first, second in itertools.pairwise(times["a999"])]
    assert min(times["a999"]) <= 2 + 0.3


def test_a_job_that_is_followed_again_while_it_waits_is_looked_at_by_one_call_at_a_time() -> None:
    """Regression: an execution that was loaded again had its jobs looked at twice at once, by calls that are slow."""
    under_way, twice = Counter[str](), list[str]()

    async def look(job: str) -> bool:
        under_way[job] += 1
        twice.extend(one for one, calls in under_way.items() if calls > 1)
        await asyncio.sleep(5)
        under_way[job] -= 1
        return True

    async def act(poller: Poller[str]) -> None:
        jobs = [f"a{number}" for number in range(100)]
        for job in jobs:
            poller.follow(job)
        await asyncio.sleep(1.5)
        for job in jobs:
            poller.forget(job)
            poller.follow(job)
        await asyncio.sleep(60)

    poll(look, act, polls_per_second=20.0)
    assert not twice
