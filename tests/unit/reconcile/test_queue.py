"""The work queue: coalescing, one worker a key, delays, backoff, bounds, fairness, the end."""

from __future__ import annotations

import asyncio
import random

import pytest
import uvloop
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propeller.errors import Throttled
from propeller.reconcile import Closed, QueueOptions, WorkQueue
from propeller.testing import VirtualTimeLoop, now
from tests.examples import examples


def tenant_of(key: str) -> str:
    return key.split("/")[0]


async def times_of(queue: WorkQueue[str], count: int) -> list[tuple[str, float]]:
    """The next `count` keys, and when each came."""
    taken = []
    for _ in range(count):
        key = await queue.get()
        taken.append((key, now()))
        queue.done(key)
    return taken


async def test_a_key_added_many_times_waits_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(5):
        queue.add("a")
    assert await queue.get() == "a"
    assert queue.try_get() is None


async def test_a_key_added_while_it_is_reconciled_is_reconciled_again() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert queue.try_get() is None, "one worker a key"
    queue.done(key)
    assert queue.try_get() == "a"


async def test_only_a_key_with_a_worker_can_be_done() -> None:
    with pytest.raises(ValueError, match="'a' is with no worker"):
        WorkQueue[str]().done("a")


async def test_get_waits_for_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    asyncio.get_running_loop().call_later(7, queue.add, "a")
    assert await queue.get() == "a"
    assert now() == 7


async def test_delayed_keys_come_in_the_order_of_their_times() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 30)
    queue.add_after("soon", 10)
    queue.add("now")
    assert await times_of(queue, 3) == [("now", 0), ("soon", 10), ("late", 30)]


@pytest.mark.parametrize("delays", [(10, 20), (20, 10)])
async def test_of_two_delays_the_earlier_wins(delays: tuple[float, float]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    for delay in delays:
        queue.add_after("a", delay)
    assert await times_of(queue, 1) == [("a", 10)]
    await asyncio.sleep(100)
    assert queue.try_get() is None


async def test_an_addition_now_replaces_a_delayed_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10)
    queue.add("a")
    assert await times_of(queue, 1) == [("a", 0)]
    await asyncio.sleep(20)
    assert queue.try_get() is None


async def test_a_delay_that_ends_during_the_reconcile_leads_to_another_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add_after("a", 5)
    await asyncio.sleep(10)
    assert queue.try_get() is None
    queue.done(key)
    assert queue.try_get() == "a"


async def test_ten_thousand_delays_share_one_timer_of_the_loop() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for number in range(10_000):
        queue.add_after(f"key {number}", 10_000 - number)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    live = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined] # for this test
    assert len([handle for handle in live if "_ring" in repr(handle)]) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_delays_put_forward_again_and_again_leave_nothing_behind() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for number in range(10_000):
        queue.add_after("a", 20_000 - number)
    assert len(queue._delayed._heap) < 100
    assert queue.delayed() == {"a": 10_001}


async def test_backoff_doubles_to_its_cap_and_a_success_resets_it() -> None:
    settings_ = QueueOptions(backoff=1.0, backoff_cap=8.0)
    queue: WorkQueue[str] = WorkQueue(settings_, rng=random.Random(1))
    delays = [queue.add_rate_limited("a") for _ in range(6)]
    for delay, ceiling in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert ceiling / 2 <= delay <= ceiling
    assert queue.failures("a") == 6
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.add_rate_limited("a") <= 1


async def test_a_key_that_fails_ten_thousand_times_still_has_a_finite_backoff() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10_000):
        delay = queue.add_rate_limited("a")
    assert delay <= QueueOptions().backoff_cap


async def test_the_time_that_a_server_named_takes_the_backoffs_place() -> None:
    queue: WorkQueue[str] = WorkQueue()
    assert 300 <= queue.add_rate_limited("a", after=300) <= 330
    assert queue.failures("a") == 0


async def test_priorities_are_kept_through_delays_and_reconciles() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("urgent", 5, priority=1)
    await asyncio.sleep(4)
    queue.add("first")
    queue.add("second")
    await asyncio.sleep(2)
    assert queue.try_get() == "urgent"
    queue.add("urgent", priority=1)
    queue.done("urgent")
    assert queue.try_get() == "urgent"


async def test_tenants_take_turns_by_their_weights() -> None:
    queue: WorkQueue[str] = WorkQueue(tenant=tenant_of, weight=lambda tenant: 2.0 if tenant == "gold" else 1.0)
    for number in range(100):
        queue.add(f"gold/{number}")
        queue.add(f"iron/{number}")
    taken = [await queue.get() for _ in range(30)]
    assert sum(key.startswith("gold") for key in taken) == 20
    assert queue.depths() == {"gold": 80, "iron": 90}


async def test_a_full_queue_refuses_new_keys_and_changes_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue(limit=2)
    queue.add("a")
    queue.add_after("b", 5)
    for add in (queue.add, lambda key: queue.add_after(key, 1)):
        with pytest.raises(Throttled, match="no room for 'c'"):
            add("c")
    assert [key for key, _ in await times_of(queue, 2)] == ["a", "b"]


async def test_a_full_queue_never_refuses_a_key_that_it_knows() -> None:
    queue: WorkQueue[str] = WorkQueue(limit=1)
    queue.add("a")
    key = await queue.get()
    queue.add("b")
    queue.add(key)
    queue.add_rate_limited(key)
    queue.done(key)
    assert sorted(queue.waiting()) == ["a", "b"]


async def test_put_waits_for_room() -> None:
    queue: WorkQueue[str] = WorkQueue(limit=1)
    queue.add("a")
    loop = asyncio.get_running_loop()
    loop.call_later(5, lambda: queue.done(queue.try_get() or ""))
    await queue.put("b")
    assert now() == 5
    assert list(queue.waiting()) == ["b"]


async def test_a_cancelled_get_does_not_swallow_the_wake_up_of_another() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")  # wakes the first, which is cancelled before it runs
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_cancelled_gets_leave_nothing_behind() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 1)
    assert not queue._takers


async def test_closing_ends_waits() -> None:
    queue: WorkQueue[str] = WorkQueue(limit=1)
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(Closed):
        await getter
    with pytest.raises(Closed):
        await queue.put("a")


async def test_a_closed_queue_takes_nothing_in_and_drops_delays() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("later", 5)
    queue.close()
    queue.add("a")
    queue.add_after("b", 1)
    await asyncio.sleep(10)
    assert len(queue) == 0


async def test_closing_with_finish_hands_out_waiting_keys_first() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.close(finish=True)
    assert [key for key, _ in await times_of(queue, 2)] == ["a", "b"]
    with pytest.raises(Closed):
        await queue.get()
    assert not queue.active()


class NoChangeGoesUnseen(RuleBasedStateMachine):
    """In any order of calls: a key is reconciled after its last addition, and never by two workers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.queue: WorkQueue[int] = WorkQueue(tenant=lambda key: key % 3)
        self.owed: dict[int, float] = {}  # key -> loop time by which it has to be on offer
        self.taken: set[int] = set()

    def call(self, method: object, *arguments: object) -> object:
        async def within() -> object:
            return method(*arguments)  # type: ignore[operator] # any of the queue's methods

        return self.loop.run_until_complete(within())

    @rule(key=st.integers(0, 8), priority=st.integers(0, 2))
    def add(self, key: int, priority: int) -> None:
        self.call(self.queue.add, key, priority)
        self.owed[key] = self.loop.time()

    @rule(key=st.integers(0, 8), seconds=st.floats(0.001, 50))
    def add_after(self, key: int, seconds: float) -> None:
        self.call(self.queue.add_after, key, seconds)
        self.owed[key] = min(self.owed.get(key, 1e9), self.loop.time() + seconds)

    @rule(seconds=st.floats(0.001, 30))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule()
    def get(self) -> None:
        key = self.call(self.queue.try_get)
        if key is None:
            return
        assert isinstance(key, int)
        assert key not in self.taken
        assert self.owed.pop(key) <= self.loop.time() + 1e-9
        self.taken.add(key)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.taken)))
        self.call(self.queue.done, key)
        self.taken.remove(key)

    @invariant()
    def what_is_owed_waits_or_is_delayed(self) -> None:
        waiting, delayed = set(self.queue.waiting()), self.queue.delayed()
        assert not waiting & delayed.keys()
        for key, when in self.owed.items():
            if key in self.taken:
                continue
            assert key in waiting or delayed[key] == pytest.approx(when)
        assert waiting | delayed.keys() <= self.owed.keys()

    def teardown(self) -> None:
        for taken in self.taken:
            self.call(self.queue.done, taken)
        self.loop.run_until_complete(asyncio.sleep(100))
        while (key := self.call(self.queue.try_get)) is not None:
            assert isinstance(key, int)
            del self.owed[key]
            self.call(self.queue.done, key)
        assert not self.owed
        self.loop.close()


TestNoChangeGoesUnseen = NoChangeGoesUnseen.TestCase
TestNoChangeGoesUnseen.settings = examples(50, stateful_step_count=40)


def test_delays_shorter_than_the_loops_resolution_work_on_uvloop() -> None:
    """uvloop answers a call_at that is almost now with a handle that does not know its time."""

    async def wait_for_both() -> set[str]:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 1e-5)
        queue.add_after("b", 1e-6)
        return {await queue.get(), await queue.get()}

    assert uvloop.run(wait_for_both()) == {"a", "b"}
