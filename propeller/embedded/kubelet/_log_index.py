"""An index of a log: when its bytes were written, and where each run of its container begins.

The processes write the log themselves, so the kubelet records its size a few times a second. Positions count bytes from
the log's first one, and continue when the file is started again.

Guarantees
    Times never decrease from one byte to the next, and never exceed the time of the poll.
Caveats
    A byte has the time of the next poll, or of the log's last change before it: up to `kubelet.memory_interval` late.
"""

from __future__ import annotations

import bisect
import functools
import operator

from propeller.clock import rfc3339
from propeller.embedded.kubelet._status import Container, Waiting
from propeller.errors import Rejected

MAX_MARKS = 4_096
"""Times that are kept of one log: those of 17 minutes of steady output. Older ones become sparser then."""

_position = operator.itemgetter(0)
_time = operator.itemgetter(1)


class LogIndex:
    """Of one container. `start` is the position of the current file's first byte."""

    def __init__(self) -> None:
        self.start = 0
        self._size = 0
        self._marks: list[tuple[int, float]] = []  # all before the position was written by the time, epoch seconds
        self._runs: list[int] = []  # where the last two begin

    def note(self, size: int, changed: float, now: float) -> None:
        """The file has `size` bytes now, and was last written at `changed`; a task can set the latter to anything."""
        if size < self._size:  # another process truncated the file
            self.start += self._size
            self._size = 0
        if size > self._size:
            self._size = size
            last = self._marks[-1][1] if self._marks else 0.0
            self._marks.append((self.start + size, max(last, min(changed, now))))
            if len(self._marks) > MAX_MARKS:
                del self._marks[: MAX_MARKS // 2 : 2]

    def begin_file(self, kept: int) -> None:
        """The file is begun again; its last `kept` bytes are still to be had."""
        self.start += self._size
        self._size = 0
        del self._marks[: bisect.bisect_right(self._marks, self.start - kept, key=_position)]

    def begin_run(self) -> None:
        """The container's next process starts."""
        self._runs = [*self._runs[-1:], self.start + self._size]

    def last_run(self) -> tuple[int, None]:
        """Return where the last run begins; it has no end yet."""
        return self._runs[-1] if self._runs else 0, None

    def run_before(self) -> tuple[int, int]:
        """Return where the run before the last one begins and ends; both 0 if there was none."""
        return (self._runs[0], self._runs[1]) if len(self._runs) == 2 else (0, 0)

    def first_since(self, time: float) -> int:
        """The position of the first byte that was written at `time` or later, as far as is known."""
        index = bisect.bisect_left(self._marks, time, key=_time)
        return self._marks[index - 1][0] if index else 0

    def stamp(self, position: int) -> bytes:
        """The time of a byte, as the kubelet puts it before a line."""
        index = bisect.bisect_right(self._marks, position, key=_position)
        if not self._marks:
            return b""
        return _stamp(self._marks[min(index, len(self._marks) - 1)][1])


@functools.lru_cache(maxsize=64)
def _stamp(time: float) -> bytes:
    return f"{rfc3339(time, microseconds=True)[:-1]}000Z ".encode()


def bounds_of(container: Container, index: LogIndex, pod: str, *, previous: bool) -> tuple[int, int | None]:
    """Return the part of the container's log that its last run has written, or the `previous` run that ended.

    Raises `Rejected` if none has ended.
    """
    if not previous:
        return index.last_run()
    if container.last is None:
        why = f'previous terminated container "{container.name}" in pod "{pod}" not found'
        raise Rejected(why, status=400, reason="BadRequest")
    return index.last_run() if isinstance(container.state, Waiting) else index.run_before()
