"""An event loop for simulations: virtual time, steps of tasks in an order drawn from a seed, processes that stop.

Guarantees
    The same seed and the same program give the same order of everything, also in sets of tasks.
    What asyncio promises is kept: a task's own steps are in order, and so are callbacks that are no steps of tasks.
    A process (all that was started in its context) can be frozen between any two awaits, for a while or for ever.
Caveats
    Work for threads is done on the loop, a random time later. There are no sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PROCESS: contextvars.ContextVar[int] = contextvars.ContextVar("process", default=0)
"""Which process runs: 0 is the world itself, which never freezes."""

_REACH = 16
"""Among how many steps that are ready the next is drawn."""


MAX_STEPS = 20_000
"""At one time: beyond them the program is taken for one that goes round in circles."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: the program waits for ever. Or it works, and time does not move on."""


class _Nothing(selectors.SelectSelector):
    """No file is ever ready. Where the loop would wait, time moves on to `next_timer`."""

    elapsed = 0.0
    steps = 0
    next_timer: Callable[[], float]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing is left that could happen")
        self.steps += 1
        if self.steps % 200 == 0:
            self.elapsed += 1e-6  # work takes time
        if self.steps > MAX_STEPS:
            self.steps = -1_000_000  # room for an orderly end
            raise Stuck("time does not move on")
        if timeout > 0:
            self.steps = 0
            due = self.next_timer()  # exactly: a timer that rings a trifle early may be set again for ever
            reached = self.elapsed + timeout
            self.elapsed = due if abs(due - reached) < 1e-6 else reached
        return []


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Ready(deque[Any]):
    """What is ready to run; `popleft` is where order is drawn and where frozen processes stop."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._random = rng.random
        self.frozen: dict[int, list[asyncio.Handle]] = {}

    def popleft(self) -> asyncio.Handle:
        if (count := len(self)) > 1 and _is_step(self[0]):
            other = int(self._random() * min(count, _REACH))
            if other and _is_step(self[other]):
                self[0], self[other] = self[other], self[0]
        handle: asyncio.Handle = super().popleft()
        if self.frozen and (held := self.frozen.get(handle._context.get(PROCESS, 0))) is not None:  # type: ignore[attr-defined]
            held.append(handle)
            return asyncio.Handle(_nothing, (), asyncio.get_running_loop())
        return handle


class SimulatedLoop(asyncio.SelectorEventLoop):
    """See the module's text."""

    def __init__(self, seed: int) -> None:
        self._nothing = _Nothing()
        self._rng = random.Random(f"loop {seed}")
        self._tasks_made = 0
        super().__init__(self._nothing)
        self._ready: _Ready = _Ready(self._rng)
        self._nothing.next_timer = lambda: self._scheduled[0].when()  # type: ignore[attr-defined]
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._nothing.elapsed

    def freeze(self, process: int) -> None:
        """Let the process do nothing from here on."""
        self._ready.frozen.setdefault(process, [])

    def thaw(self, process: int) -> None:
        """Let it go on where it stood."""
        self._ready.extend(self._ready.frozen.pop(process, ()))

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        future = self.create_future()
        self.call_later(self._rng.uniform(0.0, 0.01), _work, future, func, args)
        return future

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> _Task:
        self._tasks_made += 1
        return _Task(self._tasks_made, coro, loop=loop, **options)


def run(seed: int, main: Callable[[SimulatedLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` to its end on a loop of its own."""
    loop = SimulatedLoop(seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))


def _is_step(handle: asyncio.Handle) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[attr-defined]


def _nothing() -> None:
    """What runs in the place of a frozen step."""


def _work(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:  # noqa: BLE001 - it is its waiter's
        future.set_exception(error)
