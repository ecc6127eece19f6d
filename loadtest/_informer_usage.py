"""The resource usage of the running process: seconds of CPU, bytes of memory.

Standard library only: a peer that lives in a virtual environment of its own reads it as well. Linux.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class Span:
    """Usage since its creation. Garbage is collected first, so that memory counts additions only."""

    def __init__(self) -> None:
        self._memory = settled()
        self._began = cpu()

    def report(self) -> None:
        """Print a line of JSON: `cpu`, seconds since the beginning; `memory`, bytes added that stay.

        A new span has begun when it prints: the reader of the line may go on at once.
        """
        took = cpu() - self._began
        memory = settled()
        line = json.dumps({"cpu": took, "memory": memory - self._memory})
        self._memory, self._began = memory, cpu()
        print(line, flush=True)


def cpu() -> float:
    """Seconds of CPU of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def settled() -> int:
    """Bytes of anonymous memory that are resident once garbage is collected and free pages are given back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    return _status("RssAnon")


def reset_peak() -> bool:
    """Reset `peak`. False if the kernel does not allow it: then it counts from the process's start."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak() -> int:
    """Bytes: the most that was resident at any moment since the last reset, files included."""
    return _status("VmHWM")


def resident() -> int:
    """Bytes that are resident now, files included, to compare with `peak`."""
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {name}: this measurement needs Linux 4.5 or newer")
