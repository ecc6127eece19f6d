"""Which threads of a process a fork would lose.

Part of the forking server (`_zygote.py`), which imports it by its bare name: nothing of propeller, Python 3.9.
"""

# pathlib would be one more import in every program.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os
import threading

_STARTED_AGAIN = ("jemalloc_bg_thd",)
"""Names, to the kernel, of threads that their library starts again in a fork: Arrow's allocator."""

_NOT_MISSED = (" : loop-runner", "fsspecIO")
"""Ends of names, to Python, of idle threads that are not used after a fork: flytekit has a loop for each process id,
and fsspec makes another one.
"""


def lost_by_a_fork() -> int:
    """Threads that live in the parent right after a fork: pools with fork handlers (OpenBLAS) have ended theirs."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    names = [_read(f"/proc/self/task/{thread}/comm").strip() for thread in os.listdir("/proc/self/task")]
    os.waitpid(pid, 0)
    not_missed = sum(thread.name.endswith(_NOT_MISSED) for thread in threading.enumerate())
    return sum(name not in _STARTED_AGAIN for name in names) - 1 - not_missed


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # a thread that ended in between
        return _STARTED_AGAIN[0]
