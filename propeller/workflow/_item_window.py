"""How many items of a map task wait to be launched at the same time.

Guarantees
    At most `MAX_WAITING_ITEMS` items of a map task have started and wait for their create, for a slot, a token, a quota
    or the API server: the others cost a few bytes each. As one is launched or ends, the next one starts, in order.
    A smaller map task starts as if there were no limit. So does one whose attempts may run in several clusters: items
    that wait for one of them do not hold back those for another.
    Nothing of this is in a status: the items that may start have not, and are found again after a load.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from propeller.workflow._states import BackingOff, Launching, RunningSubtasks, State

if TYPE_CHECKING:
    from propeller.workflow._execution import Execution, Frame

MAX_WAITING_ITEMS = 1_000
"""Ten times as many as are created at once. Each takes about 2 KB: its state, effect, claims and place in queues."""

_NOT_STARTED = 0  # NodePhase.NOT_STARTED, whose module imports this one


class ItemWindow:
    """The items of one map task: those below `until` may start, those below `given` were told to."""

    __slots__ = ("given", "until", "waiting")

    def __init__(self) -> None:
        self.given = 0
        self.until = 0
        self.waiting = 0
        """Items that were told to start and have neither been launched since nor ended."""

    def move(self, before: State | None, after: State | None) -> None:
        """Count an item as its state changes: None if it has only been told to start, or has ended."""
        self.waiting += (after is not None and _waits(after)) - (before is None or _waits(before))


def _waits(state: State) -> bool:
    """Whether no resource of the attempt was created. The pause after a failure is no such wait."""
    if type(state) is Launching:
        return True
    return type(state) is BackingOff and (state.queued or bool(state.refusals.reason))


def start_up_to(execution: Execution, frame: Frame, end: int) -> Iterator[int]:
    """Let the items below `end` start; yields those that start now, as nodes."""
    assert frame.window is not None
    frame.window.until = max(frame.window.until, end)
    return next_items(execution, frame)


def next_items(execution: Execution, frame: Frame) -> Iterator[int]:
    """Yield the items that may start now, as nodes; each once."""
    window, base, phases = frame.window, frame.base, execution.phases
    assert window is not None
    while window.given < window.until and not frame.ended:
        if window.waiting >= MAX_WAITING_ITEMS and execution.placements is None:
            break
        node = base + window.given
        window.given += 1
        if phases[node] == _NOT_STARTED:
            window.waiting += 1
            yield node
    is_left = window.given < window.until and not frame.ended
    if is_left != (frame in execution.filling):
        (execution.filling.append if is_left else execution.filling.remove)(frame)


def resumed_items(execution: Execution, frame: Frame) -> Iterator[int]:
    """Count the items of an execution that was loaded; yields those that start now, as nodes."""
    window, state = frame.window, execution.states.get(frame.parent)
    assert window is not None
    window.given = 0
    window.waiting = sum(_waits(execution.states[node]) for node in execution.active_in(frame))
    return start_up_to(execution, frame, state.next if isinstance(state, RunningSubtasks) else 0)
