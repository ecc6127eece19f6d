"""The controller's loop: reconciles, failures, deadlines, the end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from propeller.clock import LoopClock
from propeller.errors import Conflict, Invalid, Throttled, Unavailable
from propeller.reconcile import Closed, Controller, Outcome, QueueOptions, Result, WorkQueue
from propeller.testing import now

Round = Callable[[str], Awaitable[Result | None] | Result | None]

SETTINGS = QueueOptions(workers=2, backoff=1.0, backoff_cap=60.0, round_deadline=10.0, grace=5.0)


@asynccontextmanager
async def running(round_: Round, outcomes: Counter[str] | None = None) -> AsyncIterator[WorkQueue[str]]:
    """A queue whose keys a controller takes."""
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    counted: Counter[str] = Counter() if outcomes is None else outcomes
    controller = Controller(
        queue, round_, SETTINGS, on_reconcile=lambda outcome, _: counted.update([outcome]), clock=LoopClock()
    )
    task = asyncio.create_task(controller.run())
    try:
        yield queue
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_key_is_reconciled() -> None:
    seen: list[str] = []
    async with running(seen.append) as queue:
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(1)
    assert seen == ["a", "b"]


class _Busy:
    """A clock that each reconcile moves on by a millisecond."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def work(self, key: int) -> None:
        self.seconds += 0.001


async def test_however_many_workers_have_something_to_do_the_loop_is_let_go_after_a_slice() -> None:
    settings = QueueOptions(workers=64)
    queue: WorkQueue[int] = WorkQueue(settings)
    clock = _Busy()
    task = asyncio.create_task(Controller(queue, clock.work, settings, clock=clock).run())
    await asyncio.sleep(0.01)
    for key in range(1_000):
        queue.add(key)
    longest = 0.0
    while clock.seconds < 0.999:
        before = clock.seconds
        await asyncio.sleep(0)
        longest = max(longest, clock.seconds - before)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert longest < 0.008


async def test_workers_that_wait_for_another_turn_cost_nothing_until_it_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, done, callbacks = _Busy(), 0, 0
    settings = QueueOptions(workers=64)
    queue: WorkQueue[int] = WorkQueue(settings)
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon

    def counted(*arguments: Any, **options: Any) -> asyncio.Handle:
        nonlocal callbacks
        callbacks += 1
        return call_soon(*arguments, **options)

    def reconcile(key: int) -> None:
        nonlocal done
        clock.seconds += 0.001
        done += 1

    controller = Controller(queue, reconcile, settings, clock=clock)
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_soon", counted)
    for key in range(2000):
        queue.add(key)
    while done < 2000:
        await asyncio.sleep(0)
    monkeypatch.undo()
    assert callbacks < 2 * 2000
    queue.close()
    await task


async def test_reconciles_that_never_await_run_in_one_turn_of_the_loop() -> None:
    turns = 0
    seen: list[tuple[str, int]] = []

    async def reconcile(key: str) -> None:
        seen.append((key, turns))

    async with running(reconcile) as queue:
        await asyncio.sleep(1)
        for number in range(50):
            queue.add(str(number))
        for turns in range(1, 5):  # noqa: B007 - the reconciles read it
            await asyncio.sleep(0)
    assert {turn for _, turn in seen} == {1}


async def test_no_more_reconciles_run_at_once_than_there_are_workers() -> None:
    at_once, most = 0, 0

    async def reconcile(_: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(1)
        at_once -= 1

    async with running(reconcile) as queue:
        for number in range(10):
            queue.add(str(number))
        await asyncio.sleep(20)
    assert most == SETTINGS.workers


async def test_a_reconcile_can_requeue_its_key_for_later() -> None:
    times = []

    def reconcile(_: str) -> Result:
        times.append(now())
        return Result(requeue_after=30)

    async with running(reconcile) as queue:
        queue.add("a")
        await asyncio.sleep(65)
    assert times == [0, 30, 60]


async def test_a_failed_reconcile_is_retried_with_backoff_until_it_succeeds() -> None:
    times = []

    def reconcile(_: str) -> None:
        times.append(now())
        if len(times) < 4:
            raise RuntimeError("not yet")

    outcomes: Counter[str] = Counter()
    async with running(reconcile, outcomes) as queue:
        queue.add("a")
        await asyncio.sleep(100)
        assert queue.failures("a") == 0
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(ceiling / 2 <= gap <= ceiling for gap, ceiling in zip(gaps, [1, 2, 4], strict=True))
    assert outcomes == {Outcome.ERROR: 3, Outcome.OK: 1}


async def test_the_time_that_a_server_named_is_honoured() -> None:
    times = []

    def reconcile(_: str) -> None:
        times.append(now())
        if len(times) == 1:
            raise Throttled("too many requests", after=20)

    outcomes: Counter[str] = Counter()
    async with running(reconcile, outcomes) as queue:
        queue.add("a")
        await asyncio.sleep(100)
    assert 20 <= times[1] <= 22
    assert outcomes == {Outcome.RETRY: 1, Outcome.OK: 1}


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError(), TimeoutError()])
async def test_an_exception_of_one_key_does_not_keep_other_keys_from_being_reconciled(error: BaseException) -> None:
    done = []

    async def reconcile(key: str) -> None:
        if key == "bad":
            raise error
        done.append(key)

    async with running(reconcile) as queue:
        for number in range(5):
            queue.add("bad")
            queue.add(f"good {number}")
            await asyncio.sleep(2)
        assert len(done) == 5


async def test_a_reconcile_over_its_deadline_is_cancelled_and_retried() -> None:
    times = []

    async def reconcile(_: str) -> None:
        times.append(now())
        await asyncio.sleep(1000 if len(times) == 1 else 0)

    outcomes: Counter[str] = Counter()
    async with running(reconcile, outcomes) as queue:
        queue.add("a")
        await asyncio.sleep(50)
    assert 10 < times[1] <= 11
    assert outcomes == {Outcome.DEADLINE: 1, Outcome.OK: 1}


async def test_a_cause_that_repeats_is_logged_at_its_first_and_tenth_time(caplog: pytest.LogCaptureFixture) -> None:
    def reconcile(key: str) -> None:
        raise Conflict(f"{key} was written meanwhile")

    with caplog.at_level(logging.WARNING):
        async with running(reconcile) as queue:
            for number in range(12):
                queue.add(f"key {number}")
            await asyncio.sleep(0.1)
    assert [record.getMessage().count("time 10 from this cause") for record in caplog.records] == [0, 1]


async def test_a_stop_lets_running_reconciles_end_and_begins_no_further_one() -> None:
    begun, ended = [], []

    async def reconcile(key: str) -> None:
        begun.append(key)
        await asyncio.sleep(3)
        ended.append(key)

    async with running(reconcile) as queue:
        for number in range(5):
            queue.add(str(number))
        await asyncio.sleep(1)
    assert begun == ended == ["0", "1"]
    assert now() == 3


async def test_a_reconcile_that_outlasts_the_grace_is_cancelled() -> None:
    cancelled = []

    async def reconcile(key: str) -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            cancelled.append((key, now()))
            raise

    async with running(reconcile) as queue:
        queue.add("slow")
        await asyncio.sleep(1)
    assert cancelled == [("slow", 1 + SETTINGS.grace)]
    assert queue.active() == []


async def test_a_second_cancel_cuts_the_grace_short() -> None:
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    task = asyncio.create_task(Controller(queue, lambda _: asyncio.sleep(9), SETTINGS, clock=LoopClock()).run())
    queue.add("slow")
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == 2


async def test_a_finished_queue_ends_the_controller() -> None:
    seen: list[str] = []
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    queue.add("a")
    queue.add("b")
    queue.close(finish=True)
    await Controller(queue, seen.append, SETTINGS, clock=LoopClock()).run()
    assert seen == ["a", "b"]


async def test_liveness_reports_a_reconcile_that_ignores_cancellation() -> None:
    release = asyncio.Event()

    async def reconcile(_: str) -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    controller = Controller(queue, reconcile, SETTINGS, name="jobs", clock=LoopClock())
    task = asyncio.create_task(controller.run())
    queue.add("stubborn")
    await asyncio.sleep(12)
    assert controller.liveness() is None
    await asyncio.sleep(12)
    assert controller.liveness() == "jobs: reconciling 'stubborn' has not ended for 24 s, and ignores cancellation"
    release.set()
    await asyncio.sleep(0)
    queue.close()
    await task


async def test_readiness_waits_for_the_caches() -> None:
    synced = False
    controller = Controller(WorkQueue[str](), lambda _: None, name="jobs", synced=lambda: synced)
    assert controller.readiness() == "jobs: caches are not synced yet"
    synced = True
    assert controller.readiness() is None


async def test_no_key_is_reconciled_before_the_caches_are_filled() -> None:
    began: list[float] = []
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    controller = Controller(
        queue, lambda _: began.append(now()), SETTINGS, synced=lambda: now() >= 30, clock=LoopClock()
    )
    queue.add("a")
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(60)
    queue.close()
    await task
    assert len(began) == 1
    assert 30 <= began[0] <= 31


async def test_caches_that_are_never_filled_end_the_controller_by_name() -> None:
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    controller = Controller(queue, lambda _: None, SETTINGS, name="jobs", synced=lambda: False, clock=LoopClock())
    with pytest.raises(Unavailable, match="jobs: the caches were not filled within 120 s"):
        await controller.run()
    assert SETTINGS.sync_deadline <= now() <= SETTINGS.sync_deadline + 1
    with pytest.raises(Closed):
        await queue.get()


async def test_a_controller_that_waits_for_its_caches_ends_when_it_is_cancelled() -> None:
    queue: WorkQueue[str] = WorkQueue(SETTINGS)
    task = asyncio.create_task(Controller(queue, lambda _: None, SETTINGS, synced=lambda: False).run())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == 1


def test_a_wait_that_is_given_in_the_place_of_a_question_is_refused() -> None:
    async def synced() -> bool:
        raise AssertionError

    with pytest.raises(Invalid, match="give has_synced, not synced"):
        Controller(WorkQueue[str](), lambda _: None, synced=synced)  # type: ignore[arg-type]
